"""`goldline test`: SQL is judged by Google's analyser, and the contracts' unit tests run on two engines."""
