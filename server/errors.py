"""The error that a person who starts the server can mend."""

from __future__ import annotations

from triton_yolo.errors import TritonYoloError


class ServerError(TritonYoloError):
    """Says in one line what is wrong, where, and what to do."""
