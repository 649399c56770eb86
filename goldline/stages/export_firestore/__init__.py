"""Export a Firestore collection as of one read time to Parquet in the lake, with personal data pseudonymised."""
