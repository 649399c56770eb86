"""A simulated register of startups that writes its changes into the lake, where there is no real one."""
