"""Resolve the date and make every table that a run may read or write."""
