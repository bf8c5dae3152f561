"""What users of the server import and run: detection and evaluation."""
