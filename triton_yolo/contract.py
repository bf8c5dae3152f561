"""The names by which the served graph is known to the rest of the repository."""

INPUT, OUTPUT = "images", "candidates"
GRAPH_NAME = "served"
