"""The line's page: what the line sees and finds, in a browser."""
