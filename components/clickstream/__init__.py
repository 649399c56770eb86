"""The flow clickstream: click events to sessions."""
