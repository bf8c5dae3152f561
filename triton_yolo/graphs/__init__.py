"""ONNX graphs: reading, running, their structure and parts, new nodes, float16."""
