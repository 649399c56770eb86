"""BigQuery on one machine: PyPI local-bigquery with what it lacks for this project added.

`python -m goldline.emulators.warehouse` starts it. Each module mends one thing and has one `install()`, which names
every upstream function that it replaces; `upstream.py` holds the versions for which that is known to work.
"""
