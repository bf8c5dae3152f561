"""Errors of lines of cameras."""

from __future__ import annotations

from triton_yolo.errors import TritonYoloError


class LineError(TritonYoloError):
    """A line cannot be read or started: says what is wrong, and where."""


class CameraError(LineError):
    """A camera cannot be opened.

    Attributes:
        again: whether another attempt may succeed: devices come back, files don't.
        died: whether its process was ended by a signal before it could say anything.
    """

    def __init__(self, words: str, again: bool = False, died: bool = False) -> None:
        """Say what is wrong in words."""
        super().__init__(words)
        self.again, self.died = again, died


class SourceError(TritonYoloError):
    """A source cannot be opened, or was lost."""
