"""A log and records of drawn boards, as a line writes them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bench.page_feed import Drawn, Feed
from triton_yolo.clients.stream.events import Event
from triton_yolo.clients.stream.rules import VerdictSettings
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.sinks.log.sink import Log
from triton_yolo.clients.stream.sinks.records.sink import Records
from triton_yolo.clients.stream.sinks.settings import LogSettings, RecordsSettings
from triton_yolo.clients.stream.verdict import FrameVerdict

FRAMES = 3  # of a board
RULES: dict[str, Any] = {"boards": "trigger", "frames_per_board": FRAMES, "min_share": 1}


@dataclass
class Both:
    """The two sinks as one."""

    log: Log
    records: Records

    def put(self, event: Event) -> None:
        """Pass it on to both, as slowly as a camera."""
        while self.records.queued:
            time.sleep(0.001)
        self.log.put(event)
        self.records.put(event)

    def wants(self, verdict: FrameVerdict) -> int | None:
        """What records want."""
        return self.records.wants(verdict)


def write(
    folder: Path,
    boards: list[Drawn],
    cameras: Iterable[str],
    numbers: Iterable[int],
    *,
    missed: int = -1,
    pause: float = 0.0,
    **records: Any,
) -> tuple[Path, Path]:
    """Write a log and records, and return where they are.

    Args:
        folder: for both.
        boards: what the cameras see.
        cameras: names of the cameras; each sees all boards.
        numbers: of the boards that come, in their order.
        missed: the number of one of which the last frame is late.
        pause: seconds behind each board.
        records: settings of the records.
    """
    log, kept = folder / "line-3.db", folder / "records"
    both = Both(
        Log(LogSettings(kind="log", path=log), "line-3"),
        Records(RecordsSettings.model_validate({"kind": "records", "folder": kept, **records})),
    )
    feed = Feed(cast(Sink, both), boards, VerdictSettings.model_validate(RULES))
    for camera in cameras:
        feed._judge.changed(camera, "running", "", 0)
    for number in numbers:
        for camera in cameras:
            feed._judge.trigger(camera)
            for frame in range(FRAMES):
                feed.frame(camera, number, reason="late" if number == missed and frame == FRAMES - 1 else "")
        time.sleep(pause)
    both.log.close()
    both.records.close()
    return log, kept
