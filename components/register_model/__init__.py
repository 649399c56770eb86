"""Register an accepted model with Vertex AI."""
