"""Frames as tiles that changed against frames as JPEGs and as pixels: bytes, detections, latencies."""
