"""Landing of files in bronze: attempts, views of the newest commits, sweep, timestamps, downloads."""
