"""Verdicts as lines of JSON."""

from __future__ import annotations

import json
import os
from typing import Any

from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.events import Event
from triton_yolo.clients.stream.frames import Result
from triton_yolo.clients.stream.line import Line
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.sinks.settings import JsonSettings
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict


class JsonLines(Sink):
    """Writes to a descriptor, such as stdout: a line for each frame, and one for each board of several frames."""

    kind = "JSON lines"
    events = (FrameVerdict, BoardVerdict)

    def __init__(self, file: int, boards: bool) -> None:
        """Prepare.

        Args:
            file: the descriptor; is left open.
            boards: whether boards are others than frames.
        """
        self._file, self._boards = file, boards
        super().__init__()

    def put(self, event: Event) -> None:
        """See Sink."""
        if self._boards or not isinstance(event, BoardVerdict):
            super().put(event)

    def write(self, event: Event) -> None:
        """See Sink."""
        if isinstance(event, BoardVerdict):
            content = board_as_dict(event)
        else:
            assert isinstance(event, FrameVerdict)
            content = as_dict(event)
        data = f"{json.dumps(content)}\n".encode()
        while data:
            data = data[os.write(self._file, data) :]


class JsonFile(JsonLines):
    """Adds to a file."""

    kind = "json"

    @classmethod
    def of(cls, settings: JsonSettings, line: Line) -> JsonFile:
        """See Sink."""
        try:
            file = os.open(settings.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise LineError(f"sinks: {settings.path}: {error.strerror}") from None
        return cls(file, line.verdict.boards != "frame")

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
        content |= reuse(result)
        content |= result.detections.as_dict()
    return content


def reuse(result: Result) -> dict[str, Any]:
    """Return what is to be said of a frame whose detections are those of an earlier one; empty for others."""
    return {"reused": True, "age": result.age} if result.age else {}


def board_as_dict(board: BoardVerdict) -> dict[str, Any]:
    """Return a board's verdict, ready for JSON: told from a frame's by its key ``board``, the number of the board."""
    content: dict[str, Any] = {
        "camera": board.camera,
        "board": board.board,
        "verdict": board.verdict.value,
        "frames": board.frames,
        "inspected": board.inspected,
        **({"reused": board.reused} if board.reused else {}),
        "defects": board.defects,
        "worst": {"name": board.worst[0], "score": round(board.worst[1], 4)} if board.worst else None,
        "numbers": list(board.numbers) if board.numbers else None,
        "first": board.first_ns / 1e9 if board.first_ns else None,
        "last": board.last_ns / 1e9 if board.last_ns else None,
    }
    if board.why:
        content["why"] = board.why
    return content
