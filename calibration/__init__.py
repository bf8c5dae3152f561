"""Turns a served float graph into an INT8 graph, and proves how good it is."""
