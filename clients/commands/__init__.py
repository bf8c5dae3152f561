"""The command lines of clients."""
