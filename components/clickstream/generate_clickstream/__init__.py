"""Simulated web shop whose tracker writes clicks into the lake; used where there is no real source."""
