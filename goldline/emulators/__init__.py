"""Stand-ins for Google's servers and SQL analyser."""
