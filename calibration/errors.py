"""What can be wrong with what a user calibrates with."""


class CalibrationError(ValueError):
    """The graph, the images or the annotations do not do; says what is wrong with them and what to do."""
