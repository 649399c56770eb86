"""Train the churn model."""
