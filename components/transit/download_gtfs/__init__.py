"""Bring a GTFS Schedule feed into the lake: checked, as it came and as typed Parquet."""
