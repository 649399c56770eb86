"""What the simulators share: numbers that are looked up, text that is made by the column, folders that are theirs."""
