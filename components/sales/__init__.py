"""The flow sales: Firestore documents to customers and facts."""
