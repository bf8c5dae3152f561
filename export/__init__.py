"""Turns YOLO networks into the graph that the model repository serves."""
