"""One run: its context, records, ops rows and parameters."""
