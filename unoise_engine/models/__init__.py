"""Model bundles: what a model is, how it is verified, and how it runs in onnxruntime."""
