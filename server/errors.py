"""The error that a person who starts the server can mend."""


class ServerError(Exception):
    """Says in one line what is wrong, where, and what to do."""
