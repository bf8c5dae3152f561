"""Synthetic circuit boards with known defects, and the default model's training."""
