"""The compiled pipeline."""
