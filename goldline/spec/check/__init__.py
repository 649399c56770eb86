"""Check of a compiled spec against what Vertex AI takes."""
