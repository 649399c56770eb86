"""Shared parts of the simulators: counter-based random numbers, columnar text, marked folders, people, products."""

# Number of customers of the simulated shop, by size of the simulation.
CUSTOMERS = {"small": 250, "demo": 2_000, "large": 20_000}


class NotSimulatedError(RuntimeError):
    """The target holds real data, or another simulation's; nothing was written."""
