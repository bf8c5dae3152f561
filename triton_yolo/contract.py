"""The names by which the served graph is known to the rest of the repository."""

INPUT, OUTPUT = "images", "candidates"
GRAPH_NAME = "served"
GRAPH_FILE = "model.onnx"  # in a model's version folder
GRAPH_HINT = "it is the graph that `triton-yolo export` writes"
