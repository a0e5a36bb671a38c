"""A grid of runs: losses by methods by noises by seeds."""
