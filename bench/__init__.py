"""Benchmarks, run by `make bench-*`: each compares goldline with the obvious way in the same run."""
