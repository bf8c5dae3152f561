"""How a line works, for Prometheus; docs/metrics.md has the names."""
