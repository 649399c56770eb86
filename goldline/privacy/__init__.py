"""Pseudonyms, keys and masks."""
