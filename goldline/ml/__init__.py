"""Models: features, signatures, model files, metrics, the store in the lake, serving."""
