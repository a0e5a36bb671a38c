"""From anyone's data to a robust model: checks, suspects, robust fine-tuning beside cross entropy and a probe."""
