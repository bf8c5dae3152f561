"""The error of the export."""

from __future__ import annotations

from triton_yolo.errors import GraphError


class ExportError(GraphError):
    """The network cannot be served as it is; the message says what was seen and what to do."""
