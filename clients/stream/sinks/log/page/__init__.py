"""The log's page: which boards failed when and why, with the pictures that records have kept, in a browser."""
