"""What is measured: `make bench-*`, each beside the obvious way in the same run."""
