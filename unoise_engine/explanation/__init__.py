"""From a volume to its segmentation and importance maps: the pipeline, and one file a method."""
