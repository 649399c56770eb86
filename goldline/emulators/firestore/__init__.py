"""Firestore emulator: its gRPC protocol over SQLite, for machines without Java or the Cloud SDK."""
