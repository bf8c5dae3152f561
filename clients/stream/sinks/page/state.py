"""What the page shows: events go in, messages for viewers come out."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import deque
from dataclasses import dataclass

from triton_yolo.clients.stream.events import CameraStatus, Event, LineStatus, Picture
from triton_yolo.clients.stream.line import Line
from triton_yolo.clients.stream.sinks.page.cameras import HISTORY, CameraView, Counts, Point, Second
from triton_yolo.clients.stream.sinks.page.failures import Failures, Shot
from triton_yolo.clients.stream.sinks.page.pictures import Live, Wishes, live
from triton_yolo.clients.stream.sinks.settings import PageSettings
from triton_yolo.clients.stream.sources import kind_of
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict

STILL = ("folder", "file")  # kinds of sources that may well show the same picture for long
MOST_CAMERAS = 64  # that the page shows


@dataclass(frozen=True)
class Message:
    """Text for viewers.

    Attributes:
        version: counts up; what a viewer has got of this version it need not get again.
        text: JSON.
    """

    version: int
    text: str


class State:
    """All that the page shows. Events are put in by one thread; what is published may be read by another.

    Attributes:
        wishes: which pictures are wanted.
        failures: the latest failures.
        status: the line's state, made once a second for all viewers.
        failed: the list of failures, made when it has changed.
        live: the newest picture of each camera.
    """

    def __init__(self, line: Line, settings: PageSettings, assets: str) -> None:
        """Begin.

        Args:
            line: the line; its cameras are shown in its order, with others after them.
            settings: of the page.
            assets: names the version of the page's files: a browser that has others loads them anew.
        """
        self._assets = assets
        self._line, self._settings, self._lock = line, settings, threading.Lock()
        self._boards = line.verdict.boards != "frame"
        period, sides = 1 / settings.pictures_per_second, (settings.picture_size, settings.failure_size)
        self.wishes = Wishes(period, *sides, boards=self._boards)
        self.failures = Failures(round(settings.failures_mb * 1e6))
        self.live: dict[str, Live] = {}
        self._start = now = time.monotonic()
        self._cameras = {name: self._new(name, now) for name in (camera.name for camera in line.cameras)}
        self._counts, self._history, self._second = Counts(), deque[Point](maxlen=HISTORY), 0
        self._told: LineStatus | None = None
        self._heard = now
        self.status = Message(0, "")
        self.failed = Message(0, json.dumps({"type": "failures", "failures": []}))
        self.end_second(now, 0)

    def take(self, event: Event, now: float) -> None:
        """Take an event.

        Args:
            event: the event.
            now: seconds of ``time.monotonic``.
        """
        if isinstance(event, Picture):
            self._pictured(event, now)
            return
        with self._lock:
            self._count(event, now)

    def _count(self, event: FrameVerdict | BoardVerdict | CameraStatus | LineStatus, now: float) -> None:
        if isinstance(event, LineStatus):
            self._told, self._heard = event, now
            for row in event.report.get("cameras", ()):
                if camera := self._cameras.get(row["name"]):
                    camera.reported(row)
        elif isinstance(event, CameraStatus):
            if camera := self._camera(event.camera, now):
                camera.told(event.state, event.trouble, now)
        elif isinstance(event, BoardVerdict):
            if camera := self._camera(event.camera, now):
                self._counts.add(event, camera.board(event, now))
                if self._boards:
                    self.failures.add_board(event)
                    self.wishes.forget(event.camera)
        elif camera := self._camera(event.result.camera, now):
            camera.judged(event, now)

    def _pictured(self, picture: Picture, now: float) -> None:
        name = picture.verdict.result.camera
        if not (camera := self._camera(name, now)):
            return
        before = self.live[name].version if name in self.live else 0
        self.live[name], pixels = live(picture, before + 1, self._settings.picture_size, camera.latest)
        camera.pictured(pixels, now)
        if self.wishes.is_failure(picture.verdict):
            add = self.failures.add_candidate if self._boards else self.failures.add_frame
            add(Shot.of(picture))
            self.wishes.kept(picture.verdict, now)

    def end_second(self, now: float, viewers: int) -> None:
        """Make the messages of the second that is over.

        Args:
            now: seconds of ``time.monotonic``.
            viewers: how many look.
        """
        with self._lock:
            self._end_second(now, viewers)
        if self.failed.version != self.failures.version:
            failures = {"type": "failures", "failures": self.failures.listed()}
            self.failed = Message(self.failures.version, json.dumps(failures))

    def _end_second(self, now: float, viewers: int) -> None:
        self._second += 1
        whole, points = Second(), {}
        for camera in self._cameras.values():
            points[camera.name], over = camera.end_second()
            whole.inspected, whole.failed = whole.inspected + over.inspected, whole.failed + over.failed
            whole.not_inspected += over.not_inspected
            whole.latencies += over.latencies
        self._history.append(whole.point())
        told = self._told
        content = {
            "type": "status",
            "line": self._line.name,
            "server": {"address": self._line.url, "away": told.away if told else ""},
            "time": time.time(),
            "uptime": now - self._start,
            "silent": now - self._heard,
            "viewers": viewers,
            "unit": "board" if self._boards else "frame",
            "counts": self._counts.as_dict(),
            "cameras": [camera.as_dict(now) for camera in self._cameras.values()],
            "sinks": list(told.report.get("sinks", ())) if told else [],
            "second": self._second,
            "points": {"total": self._history[-1], "cameras": points},
        }
        self.status = Message(self._second, json.dumps(content))

    def hello(self) -> str:
        """Return what a viewer gets first: the figures of the last seconds, oldest first, ending with this second."""
        with self._lock:
            cameras = {camera.name: list(camera.history) for camera in self._cameras.values()}
            content = {
                "type": "hello",
                "assets": self._assets,
                "second": self._second,
                "total": list(self._history),
                "cameras": cameras,
            }
        return json.dumps(content)

    def _camera(self, name: str, now: float) -> CameraView | None:
        if name not in self._cameras:
            if len(self._cameras) >= MOST_CAMERAS:  # those that were removed make room
                gone = next((one.name for one in self._cameras.values() if one.ended), None)
                if gone is None:
                    return None
                del self._cameras[gone]
                self.live.pop(gone, None)
            self._cameras[name] = self._new(name, now)
        return self._cameras[name]

    def _new(self, name: str, now: float) -> CameraView:
        config = next((camera for camera in self._line.cameras if camera.name == name), None)
        if config is None:
            return CameraView(name, None, False, math.inf, now)
        unchanged = math.inf if kind_of(config.uri) in STILL else self._settings.unchanged_after
        return CameraView(name, config.fps, math.isinf(config.silent_after), unchanged, now)
