"""What tables and sources promise: contracts, SQL text, the catalog."""
