"""Stand-ins for Google's servers, and Google's SQL analyser and executor."""
