"""Python models that stand in for Triton's DALI and TensorRT backends where those are not installed."""
