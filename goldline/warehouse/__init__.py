"""BigQuery: jobs, schemas, statements, artifacts."""
