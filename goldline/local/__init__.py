"""Runs on one machine: the servers that stand in for Google's, and the runner of the compiled spec."""
