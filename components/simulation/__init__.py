"""What the simulators share: numbers that are looked up, text that is made by the column, folders that are theirs."""

# Customers of the simulated shop, by size of the simulation.
CUSTOMERS = {"small": 250, "demo": 2_000, "large": 20_000}


class NotSimulatedError(RuntimeError):
    """What is to be filled holds what no simulation made, or what another one did; nothing was written."""
