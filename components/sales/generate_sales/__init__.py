"""Simulated shop that writes its sales into Firestore; used where there is no real source."""
