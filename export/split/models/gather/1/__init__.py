"""Adding up the differences of a stream's features: what the Triton model of that name consists of."""
