"""Download a GTFS Schedule feed into the lake: checked, as the original archive and as typed Parquet."""
