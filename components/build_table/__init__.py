"""Build one table from its SELECT and its contract: write, audit, publish."""
