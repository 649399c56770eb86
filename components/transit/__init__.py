"""The flow transit: a schedule and daily archives to headways."""
