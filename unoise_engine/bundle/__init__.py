"""Model bundles: the manifest and the onnxruntime sessions behind it."""
