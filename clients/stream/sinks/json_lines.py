"""Verdicts as lines of JSON."""

from __future__ import annotations

import json
import os
from typing import Any

from triton_yolo.clients.stream.frames import Verdict
from triton_yolo.clients.stream.sinks.base import Sink


class JsonLines(Sink):
    """Writes to a descriptor, such as stdout: a line for each frame."""

    kind = "JSON lines"

    def __init__(self, file: int) -> None:
        """Prepare.

        Args:
            file: the descriptor; is left open.
        """
        self._file = file
        super().__init__()

    def write(self, verdict: Verdict) -> None:
        """See Sink."""
        data = f"{json.dumps(as_dict(verdict))}\n".encode()
        while data:
            data = data[os.write(self._file, data) :]


def as_dict(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict, ready for JSON; ``detections`` is there only if the frame was inspected."""
    content: dict[str, Any] = {
        "camera": verdict.camera,
        "number": verdict.number,
        "captured": verdict.captured_ns / 1e9 if verdict.captured_ns else None,
        "state": verdict.state.value,
    }
    if verdict.reason:
        content["reason"] = verdict.reason
    if verdict.detections is not None and verdict.latency_ms is not None:
        content["latency_ms"] = round(verdict.latency_ms, 3)
        content |= verdict.detections.as_dict()
    return content
