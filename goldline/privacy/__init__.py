"""Protection of personal data: pseudonyms, their key, masks for raw lines."""
