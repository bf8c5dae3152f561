"""Assembling the frame of a stream out of the tiles that changed: what the Triton model of that name consists of."""
