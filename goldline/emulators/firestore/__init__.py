"""Firestore's wire protocol over SQLite: the source database of a machine without Java or the Cloud SDK."""
