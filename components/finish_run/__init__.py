"""Sum up a run, whatever became of it, and write it into the ops tables."""
