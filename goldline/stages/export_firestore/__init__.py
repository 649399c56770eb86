"""Export a Firestore collection to Parquet in the lake, as of one moment, personal data treated on the way."""
