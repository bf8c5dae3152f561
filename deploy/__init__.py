"""Prepares the model repository that a Triton container serves, and everything that stands around it."""
