"""Promises of tables and sources: contracts, SQL text, the catalog."""
