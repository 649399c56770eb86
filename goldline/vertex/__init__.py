"""What touches Vertex AI: the check of a compiled spec before it is sent, and the sending."""
