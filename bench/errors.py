"""The error that a person who runs a benchmark can mend."""

from __future__ import annotations

from triton_yolo.errors import TritonYoloError


class BenchError(TritonYoloError):
    """Says in one line what is wrong, where, and what to do."""
