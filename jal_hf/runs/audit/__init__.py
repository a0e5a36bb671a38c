"""The audit of a run's training labels."""
