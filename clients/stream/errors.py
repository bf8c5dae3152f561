"""Errors of lines of cameras."""

from __future__ import annotations

from triton_yolo.errors import TritonYoloError


class LineError(TritonYoloError):
    """A line cannot be read or started: says what is wrong, and where."""


class SourceError(TritonYoloError):
    """A source cannot be opened, or was lost."""
