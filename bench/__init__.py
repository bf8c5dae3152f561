"""Load and latency measurements of a running server."""
