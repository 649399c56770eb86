"""What the simulators share: numbers that are looked up, text that is made by the column, folders that are theirs."""


class NotSimulatedError(RuntimeError):
    """What is to be filled holds what no simulation made, or what another one did; nothing was written."""
