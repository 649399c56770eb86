"""A simulated city whose trains keep a schedule as well as they can: its GTFS feed and its daily archives."""
