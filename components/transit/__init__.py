"""Flow transit: a schedule and daily archives to headways."""
