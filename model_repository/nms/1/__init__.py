"""The model nms: self-contained, so that Triton loads it wherever the repository is mounted."""
