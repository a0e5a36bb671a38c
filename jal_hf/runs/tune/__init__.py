"""The search for a loss's parameters on noisy labels held back."""
