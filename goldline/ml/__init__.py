"""Models: signature, features, files, scores, serving."""
