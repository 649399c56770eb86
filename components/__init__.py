"""KFP components: shared ones are files here; a flow's own are folders, with their work in plain Python beside."""
