"""CT volumes: read from files, brought to the model's frame and back, written."""
