"""Load landed days of history, a month at a time, and the schedule."""
