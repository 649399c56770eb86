"""Download daily history archives into the lake: checked, one day at a time."""
