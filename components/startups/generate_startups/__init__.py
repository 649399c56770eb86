"""Simulated register of startups that writes its changes into the lake; used where there is no real source."""
