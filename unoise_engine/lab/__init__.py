"""Synthetic CTs, data sets, the demo, benchmarks, the reproduction of the paper. Not in Slicer's package."""
