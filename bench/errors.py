"""The error that a person who runs a benchmark can mend."""


class BenchError(Exception):
    """Says in one line what is wrong, where, and what to do."""
