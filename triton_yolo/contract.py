"""The names by which parts of the project know what they share."""

INPUT, OUTPUT = "images", "candidates"
GRAPH_NAME = "served"
FEATURES = "features"  # what the halves of a graph that was cut in two share
HEAD_MODEL = "yolo_head"  # the model of the server's half
EDGE_NAME, HEAD_NAME = "edge", "head"  # of the graphs of these halves
GRAPH_FILE = "model.onnx"  # in a model's version folder
GRAPH_HINT = "it is the graph that `triton-yolo export` writes"
# Parameter of a request, true: it goes first in the models on a CPU, too, which are not told its priority.
URGENT = "urgent"
STREAM_HEADER = "triton-yolo-stream"  # of a request: the name of its stream, whose requests go to one server
# What proxies say where they let a request not pass, by which clients tell them from others.
WANTS_CERTIFICATE = "this server wants a client certificate that it knows"
WANTS_KEY = "this server wants an API key that it knows"
OVER_RATE = "more requests than this API key may send in a second"
