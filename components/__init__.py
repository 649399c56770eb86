"""The pipeline's components, a folder each: its face in component.py, its work in plain Python beside it."""
