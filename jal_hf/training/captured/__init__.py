"""A training step on static buffers, replayed as a CUDA graph on a GPU and run as it is on a CPU."""
