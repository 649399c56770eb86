"""Flow sales: Firestore documents to customers and facts."""
