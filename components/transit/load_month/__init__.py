"""Load landed days of history into bronze, a month at a time, and the schedule."""
