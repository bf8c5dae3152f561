"""Drawn boards for the line's page: what a line would tell it, without cameras and without a server."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from triton_yolo.boards import CLASSES, draw_board
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.stream.events import CameraStatus, LineStatus, Picture
from triton_yolo.clients.stream.frames import Result, ResultState
from triton_yolo.clients.stream.judge import Judge
from triton_yolo.clients.stream.pictures import scaled
from triton_yolo.clients.stream.rules import VerdictSettings
from triton_yolo.clients.stream.sinks.base import Sink

GOOD_ONES = 4  # boards without a defect for each one that has some
NOISE = 2.0  # deviation in grey levels: no two frames are the same


@dataclass(frozen=True)
class Drawn:
    """A board.

    Attributes:
        image: uint8 [height, width, 3] BGR.
        detections: its defects.
    """

    image: npt.NDArray[np.uint8]
    detections: Detections


def drawn_boards(count: int, height: int = 960, width: int = 1280, seed: int = 0) -> list[Drawn]:
    """Return boards, the first of which has defects, and then each one after GOOD_ONES without any."""
    boards = []
    for number in range(count):
        defects = 0 if number % (GOOD_ONES + 1) else 2
        board = draw_board(seed + number, width, height, "photo", defects=defects)
        names = tuple(CLASSES[kind] for kind in board.classes)
        scores = np.linspace(0.93, 0.71, len(names), dtype=np.float32)
        found = Detections(board.boxes, scores, board.classes.astype(np.int32), names)
        boards.append(Drawn(np.asarray(cv2.cvtColor(board.image, cv2.COLOR_RGB2BGR), np.uint8), found))
    return boards


@dataclass
class Feed:
    """Tells a sink of frames.

    Attributes:
        sink: is told.
        boards: what the cameras see, in turn.
        rules: of the line.
        numbers: of the next frame, by camera.
    """

    sink: Sink
    boards: list[Drawn]
    rules: VerdictSettings = field(default_factory=VerdictSettings)
    numbers: dict[str, int] = field(default_factory=dict)
    _rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin to judge."""
        self._judge = Judge(self.rules)

    def frame(
        self, camera: str, board: int | None = None, reason: str = "", latency_ms: float = 30.0, noise: float = NOISE
    ) -> None:
        """Tell of one frame.

        Args:
            camera: name of the camera.
            board: number of the board that it sees; the next one if None.
            reason: why it was not inspected; empty if it was.
            latency_ms: from capture to answer.
            noise: of its picture.
        """
        number = self.numbers.get(camera, 0)
        self.numbers[camera] = number + 1
        drawn = self.boards[(number if board is None else board) % len(self.boards)]
        wall, now = time.time_ns(), time.monotonic_ns()
        size = drawn.image.shape[:2]
        if reason:
            state = ResultState.LATE if reason == "late" else ResultState.REFUSED
            result = Result(camera, number, state, reason, wall, now, (size[0], size[1]))
        else:
            seen = (wall, now, (size[0], size[1]), latency_ms, drawn.detections)
            result = Result(camera, number, ResultState.INSPECTED, "", *seen)
        verdict = self._judge.frame(result)
        side = self.sink.wants(verdict)
        if side is not None:
            image = scaled(drawn.image, side)
            if noise:
                grain = self._rng.normal(0, noise, (*image.shape[:2], 1)).astype(np.int16)
                image = np.clip(image.astype(np.int16) + grain, 0, 255).astype(np.uint8)
            self.sink.put(Picture(verdict, image, image.shape[1] / size[1]))
        self.sink.put(verdict)
        for told in self._judge.boards(verdict):
            self.sink.put(told)

    def status(self, camera: str, state: str = "running", trouble: str = "") -> None:
        """Tell of a camera's state."""
        self.sink.put(CameraStatus(camera, state, trouble))

    def line(self, away: str = "", sinks: list[dict[str, object]] | None = None) -> None:
        """Tell of the line's state."""
        self.sink.put(LineStatus(away, {"cameras": [], "sinks": sinks or [{"kind": "page", "missed": 0}]}))

    def run(self, cameras: list[str], fps: float) -> None:
        """Tell of frames of cameras at a rate, and once a second of the line, until ``stop``."""
        for camera in cameras:
            self.status(camera)
        self._thread(self._frames, cameras, fps)
        self._thread(self._line)

    def stop(self) -> None:
        """End what ``run`` has begun."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _thread(self, function: object, *arguments: object) -> None:
        self._threads.append(threading.Thread(target=function, args=arguments, daemon=True))  # type: ignore[arg-type]
        self._threads[-1].start()

    def _frames(self, cameras: list[str], fps: float) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            for place, camera in enumerate(cameras):
                number = self.numbers.get(camera, 0)
                board = int(number / (2 * fps)) + 2 * place  # each stands for two seconds
                self.frame(camera, board, latency_ms=28 + 6 * abs(float(self._rng.normal())))
            due += 1 / fps

    def _line(self) -> None:
        while not self._stop.wait(1.0):
            self.line()
