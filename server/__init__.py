"""Runs the model repository in the real tritonserver from pip packages alone."""
