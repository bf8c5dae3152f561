"""Several servers on one machine behind Envoy: one address, one metrics end point, and servers that come back."""
