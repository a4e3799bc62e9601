"""Training the utility and the U-Noise model, and exporting both. The only place that imports torch."""
