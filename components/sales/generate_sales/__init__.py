"""A simulated shop that writes its sales into Firestore, where there is no real one."""
