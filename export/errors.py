"""What goes wrong for reasons that the user can mend."""


class ExportError(ValueError):
    """The network cannot be served as it is; the message says what was seen and what to do."""
