"""Take in JSON Lines that others wrote into the lake: whole lines, personal data treated, committed as one attempt."""
