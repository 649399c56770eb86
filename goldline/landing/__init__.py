"""Files into bronze: views of the newest, sweep, timestamps, HTTP."""
