"""Verdicts as lines of JSON."""

from __future__ import annotations

import json
import os
from typing import Any

from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.events import Event
from triton_yolo.clients.stream.line import Line
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.sinks.settings import JsonSettings
from triton_yolo.clients.stream.verdict import FrameVerdict


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

    def write(self, event: Event) -> None:
        """See Sink."""
        assert isinstance(event, FrameVerdict)
        data = f"{json.dumps(as_dict(event))}\n".encode()
        while data:
            data = data[os.write(self._file, data) :]


class JsonFile(JsonLines):
    """Adds to a file."""

    kind = "json"

    @classmethod
    def of(cls, settings: JsonSettings, line: Line) -> JsonFile:
        """See Sink."""
        try:
            return cls(os.open(settings.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640))
        except OSError as error:
            raise LineError(f"sinks: {settings.path}: {error.strerror}") from None

    def finish(self) -> None:
        """See Sink."""
        os.close(self._file)


def as_dict(frame: FrameVerdict) -> dict[str, Any]:
    """Return a frame's verdict, ready for JSON; ``detections`` is there only if the frame was inspected."""
    result = frame.result
    content: dict[str, Any] = {
        "camera": result.camera,
        "number": result.number,
        "captured": result.captured_ns / 1e9 if result.captured_ns else None,
        "state": result.state.value,
        "verdict": frame.verdict.value,
    }
    if result.reason:
        content["reason"] = result.reason
    if result.detections is not None and result.latency_ms is not None:
        content["latency_ms"] = round(result.latency_ms, 3)
        if result.age:
            content |= {"reused": True, "age": result.age}
        content |= result.detections.as_dict()
    return content
