"""Verdicts as a line gives them, for sinks."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from triton_yolo.clients.detections import Detections
from triton_yolo.clients.stream.events import LineStatus
from triton_yolo.clients.stream.frames import Result, ResultState
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.verdict import FrameVerdict, Verdict

NAMES = ("open", "short", "mousebite")


def detections(*found: tuple[int, float]) -> Detections:
    """Detections of classes with scores, best first."""
    classes, scores = [one[0] for one in found], [one[1] for one in found]
    boxes = np.array([[10, 20, 30, 40]] * len(found), np.float32).reshape(-1, 4)
    names = tuple(NAMES[number] for number in classes)
    return Detections(boxes, np.array(scores, np.float32), np.array(classes, np.int32), names)


def inspected(camera: str, number: int, *found: tuple[int, float], age: float = 0.0) -> FrameVerdict:
    """The verdict on a frame that was captured ``age`` seconds ago, on which this was found."""
    captured = time.monotonic_ns() - int(age * 1e9)
    what = detections(*found)
    result = Result(
        camera, number, ResultState.INSPECTED, "", time.time_ns() - int(age * 1e9), captured, (96, 128), 12.5, what
    )
    if found:
        return FrameVerdict(result, Verdict.FAIL, f"{len(found)} defects", what)
    return FrameVerdict(result, Verdict.PASS, "", what)


def lost(camera: str, number: int, state: ResultState = ResultState.LATE, reason: str = "late") -> FrameVerdict:
    """The verdict on a frame that was not inspected."""
    result = Result(camera, number, state, reason, time.time_ns(), time.monotonic_ns())
    return FrameVerdict(result, Verdict.NOT_INSPECTED, reason)


def line_status(*cameras: str, away: str = "", **more: Any) -> LineStatus:
    """How a line is with these cameras."""
    rows = [{"name": camera, "state": "running", "restarts": 0} for camera in cameras]
    return LineStatus(away, {"cameras": rows, "total": {}, "sinks": [], **more})


@contextlib.contextmanager
def pulse(sink: Sink, *cameras: str) -> Iterator[threading.Event]:
    """Tell a sink again and again that its line is alive, as a line does, until the event is set."""
    silent, over = threading.Event(), threading.Event()

    def run() -> None:
        while not over.wait(0.1):
            if not silent.is_set():
                sink.put(line_status(*cameras))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield silent
    finally:
        over.set()
        thread.join()
