"""goldline: raw events to gold tables to a judged model, in one compiled pipeline."""
