"""Contracts of tables and sources, the tables that a SELECT reads, and the catalog."""
