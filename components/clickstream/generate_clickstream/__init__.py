"""A simulated web shop whose tracker writes its clicks into the lake, where there is no real one."""
