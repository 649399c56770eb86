"""Train the headway model."""
