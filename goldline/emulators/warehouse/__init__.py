"""BigQuery emulator: PyPI's local-bigquery, here called upstream, patched where it differs from BigQuery.

`python -m goldline.emulators.warehouse` starts it. Each module patches one thing and has one `install()`, which names
every upstream function that it replaces; `upstream.py` holds the versions for which that is tested.
"""
