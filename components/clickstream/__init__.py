"""Flow clickstream: click events to sessions."""
