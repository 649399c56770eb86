"""Fast reads and writes of Firestore on encoded messages, below its client library."""
