"""Firestore below its client library: encoded messages in and out, for what must go fast."""
