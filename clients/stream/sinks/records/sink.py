"""The sink that keeps records; it takes pictures of failures, and lets a second thread make films."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np

from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.events import Event, Picture
from triton_yolo.clients.stream.line import Line
from triton_yolo.clients.stream.pictures import as_jpeg, scaled
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.sinks.json_lines import reuse
from triton_yolo.clients.stream.sinks.records.drawing import Image, with_boxes
from triton_yolo.clients.stream.sinks.records.everything import Everything
from triton_yolo.clients.stream.sinks.records.films import Film, can_be_made
from triton_yolo.clients.stream.sinks.records.names import moment, stem
from triton_yolo.clients.stream.sinks.records.recent import SECOND, Recent, Shot, Window, is_due
from triton_yolo.clients.stream.sinks.records.store import Store
from triton_yolo.clients.stream.sinks.settings import RecordsSettings
from triton_yolo.clients.stream.verdict import FrameVerdict

MEGA = 1_000_000
SHOT_QUALITY = 80  # of JPEGs in memory
FILMS_AT_ONCE = 8  # that wait or are being made; more are left out
WANTED = 256  # pictures of a camera that are remembered as wanted

logger = logging.getLogger(__name__)


class Records(Sink):
    """Keeps pictures of failures, and films."""

    kind = "records"
    events = (FrameVerdict, Picture)
    period = 0.25

    def __init__(self, settings: RecordsSettings) -> None:
        """Begin.

        Args:
            settings: of the line's file.

        Raises:
            LineError: the folder cannot be written to, another line writes there, or no film can be made.
        """
        self._settings = settings
        self._filmed = settings.before_s + settings.after_s > 0
        if (self._filmed or settings.everything) and not can_be_made():
            raise LineError("sinks: records: films need an FFmpeg with libx264, as in the wheels of PyAV")
        self._store = Store(settings.folder, int(settings.disk_mb * MEGA))
        self._recent = Recent(settings.before_s, settings.after_s, int(settings.memory_mb * MEGA))
        self._everything = Everything(self._store, settings.film_s) if settings.everything else None
        self._films, self._making = ThreadPoolExecutor(1, "records-films"), threading.BoundedSemaphore(FILMS_AT_ONCE)
        self._pause = int(settings.interval_s * SECOND)
        self._between = int(0.9 * SECOND / settings.film_fps)  # cameras are not quite regular
        self._last_picture: dict[str, int] = {}  # when the last one was wanted, by camera
        self._last_shot: dict[str, int] = {}
        self._wanted: dict[str, deque[int]] = {}
        self.wanted = self.pictures = self.films = self.films_left_out = 0
        super().__init__(pictures=16)

    @classmethod
    def of(cls, settings: RecordsSettings, line: Line) -> Records:
        """See Sink."""
        return cls(settings)

    def wants(self, verdict: FrameVerdict) -> int | None:
        """See Sink."""
        settings, result = self._settings, verdict.result
        sides = [settings.film_longest] if self._everything else []
        if verdict.verdict in settings.of and is_due(self._last_picture, result.camera, self._pause, verdict):
            self._wanted.setdefault(result.camera, deque(maxlen=WANTED)).append(result.number)
            self.wanted += 1
            sides.append(settings.longest)
        if self._filmed and is_due(self._last_shot, result.camera, self._between, verdict):
            sides.append(settings.film_longest)
        return None if not sides else 0 if 0 in sides else max(sides)

    def write(self, event: Event) -> None:
        """See Sink."""
        if isinstance(event, Picture):
            self._take(event)
        elif isinstance(event, FrameVerdict) and event.verdict in self._settings.of and self._filmed:
            self._recent.failed(event)

    def tick(self) -> None:
        """See Sink."""
        for window, shots in self._recent.due(time.monotonic_ns()):
            self._film(window, shots)

    def finish(self) -> None:
        """See Sink."""
        for window, shots in self._recent.due(None):
            self._film(window, shots)
        if self._everything:
            self._everything.close()
        self._films.shutdown()
        self._store.close()

    def status(self) -> dict[str, Any]:
        """See Sink."""
        counts = {"wanted": self.wanted, "pictures": self.pictures, "films": self.films}
        left_out = {"films_left_out": self.films_left_out, "memory_bytes": self._recent.nbytes}
        return {**counts, **left_out, **self._store.status()}

    def _take(self, picture: Picture) -> None:
        frame, image, scale = picture.verdict, picture.image, picture.scale
        wanted = self._wanted.get(frame.result.camera, ())
        if frame.result.number in wanted:
            self._keep(frame, *_smaller(image, scale, self._settings.longest))
        if self._filmed or self._everything:
            image, scale = _smaller(image, scale, self._settings.film_longest)
        if self._filmed:
            self._recent.add(Shot(frame, as_jpeg(image, SHOT_QUALITY), scale))
        if self._everything:
            self._everything.add(frame, image, scale)

    def _keep(self, frame: FrameVerdict, image: Image, scale: float) -> None:
        """Keep pictures of a frame, and what was found in it."""
        settings, result = self._settings, frame.result
        place = stem(result.camera, result.captured_ns, frame.verdict.value.replace(" ", "-"), result.number)
        files = {}
        if settings.pictures != "boxes":
            files[place.with_name(f"{place.name}.jpg")] = as_jpeg(image, settings.quality)
        if settings.pictures != "plain":
            drawn = with_boxes(image, scale, frame)
            files[place.with_name(f"{place.name}.boxes.jpg")] = as_jpeg(drawn, settings.quality)
        content = {**_as_dict(frame), "pictures": {path.name: _shape(image, scale) for path in files}}
        files[place.with_name(f"{place.name}.json")] = f"{json.dumps(content, indent=1)}\n".encode()
        self.pictures += self._store.keep(files)

    def _film(self, window: Window, shots: list[Shot]) -> None:
        """Let a film be made, if there is something to see, beside the line's other work."""
        if not shots:
            return
        if not self._making.acquire(blocking=False):
            self.films_left_out += 1
            return

        def job() -> None:
            try:
                self.films += self._store.keep(_filmed(window, shots))
            except Exception:  # a film that cannot be made must not stop others
                logger.exception("a film could not be made")
            finally:
                self._making.release()

        self._films.submit(job)


def _filmed(window: Window, shots: list[Shot]) -> dict[Any, bytes]:
    """Return the film of a window and what is to be known of it, by path."""
    result = window.first.result
    place = stem(result.camera, result.captured_ns, "film", result.number)
    file = io.BytesIO()
    with Film(file, whole=True) as film:
        for shot in shots:
            image = cv2.imdecode(np.frombuffer(shot.jpeg, np.uint8), cv2.IMREAD_COLOR)
            film.add(with_boxes(np.asarray(image, np.uint8), shot.scale, shot.frame), shot.at)
    frames = [{**_as_dict(shot.frame), "second": round((shot.at - shots[0].at) / SECOND, 3)} for shot in shots]
    content = {"camera": result.camera, "film": f"{place.name}.mp4", "failure": result.number, "frames": frames}
    return {
        place.with_name(f"{place.name}.mp4"): file.getvalue(),
        place.with_name(f"{place.name}.json"): f"{json.dumps(content)}\n".encode(),
    }


def _as_dict(frame: FrameVerdict) -> dict[str, Any]:
    """Return what is to be known of a frame; each detection says whether it is a defect by the line's rules."""
    result = frame.result
    content: dict[str, Any] = {
        "camera": result.camera,
        "number": result.number,
        "captured": moment(result.captured_ns),
        "verdict": frame.verdict.value,
        "why": frame.why,
        **reuse(result),
    }
    if result.detections is not None:
        rows = zip(result.detections.as_dict()["detections"], frame.are_defects, strict=True)
        content["detections"] = [{**row, "defect": is_defect} for row, is_defect in rows]
    return content


def _shape(image: Image, scale: float) -> dict[str, Any]:
    return {"height": image.shape[0], "width": image.shape[1], "scale": round(scale, 6)}


def _smaller(image: Image, scale: float, longest: int) -> tuple[Image, float]:
    """Return a picture with no side longer than that, and its pixels for each pixel of the frame."""
    small = scaled(image, longest)
    return small, scale * small.shape[1] / image.shape[1]
