"""Simulated city: its GTFS feed, and daily archives of its trains, which run late."""
