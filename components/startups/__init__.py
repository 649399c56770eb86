"""Flow startups: a register and its changes to a history."""
