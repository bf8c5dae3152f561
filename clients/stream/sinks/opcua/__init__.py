"""The newest verdicts as an OPC UA server; docs/opcua.md has the nodes."""
