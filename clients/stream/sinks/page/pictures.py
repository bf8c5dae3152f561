"""Pictures of the page: which ones are wanted, and each coded once for all viewers."""

from __future__ import annotations

import json
import struct
import time
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from triton_yolo.clients.detections import Detections
from triton_yolo.clients.stream.events import Picture
from triton_yolo.clients.stream.pictures import as_jpeg, scaled
from triton_yolo.clients.stream.verdict import FrameVerdict, Verdict

LIVE_QUALITY, FAILURE_QUALITY = 75, 90  # of JPEG
UNWATCHED_SECONDS = 2.0  # between two pictures of a camera while nobody looks, so that who comes sees something
FAILURE_SECONDS = 0.5  # between two pictures of failures of one camera
SAME_SECONDS = 10.0  # for which the same defects at the same place are taken for those of the same object
OVERLAP = 0.5  # intersection over union from which two boxes are of one defect
MOST_BOXES = 100  # of a picture


@dataclass(frozen=True)
class Live:
    """A camera's picture as viewers get it.

    Attributes:
        version: counts pictures up.
        camera: name of the camera.
        captured_ns: of the frame, by the clock of ``time.monotonic_ns``; 0 where it is not known.
        header: what the page says of it, ready for JSON.
        jpeg: the picture.
    """

    version: int
    camera: str
    captured_ns: int
    header: dict[str, Any]
    jpeg: bytes

    def message(self) -> bytes:
        """Return it as one message: length of the header as uint32, the header as JSON, the JPEG.

        The header's ``age`` is the age of the picture in milliseconds now: clocks of other machines differ.
        """
        age = (time.monotonic_ns() - self.captured_ns) / 1e6 if self.captured_ns else None
        header = json.dumps({**self.header, "age": age}).encode()
        return struct.pack("<I", len(header)) + header + self.jpeg


@dataclass
class _Seen:
    """What was wanted of a camera."""

    live: float = 0.0  # when the next picture is due
    failure: float = 0.0
    number: int = -1  # of the frame that is wanted as a failure
    defects: Detections | None = None  # of the last failure that was kept
    until: float = 0.0  # when these may be those of another object


@dataclass
class Wishes:
    """Says how large the picture of a frame is wanted.

    Attributes:
        period: seconds between two pictures of a camera while somebody looks.
        live_side: longest side of a picture in pixels.
        failure_side: the same of a failure.
        boards: whether boards are told apart: which failures are of one object is then known.
        watched: whether somebody looks.
    """

    period: float
    live_side: int
    failure_side: int
    boards: bool = False
    watched: bool = False
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def side(self, verdict: FrameVerdict, now: float) -> int | None:
        """Return the longest side in pixels that a frame's picture is wanted with; None if it is not.

        Args:
            verdict: on the frame.
            now: seconds of ``time.monotonic``.
        """
        seen = self._seen.setdefault(verdict.result.camera, _Seen())
        if verdict.verdict == Verdict.PASS:
            seen.defects = None
        if verdict.verdict == Verdict.FAIL and verdict.defects is not None and self._is_new(seen, verdict, now):
            seen.failure, seen.live = now + FAILURE_SECONDS, self._next(seen.live, now)
            seen.number = verdict.result.number
            return max(self.failure_side, self.live_side)
        if now < seen.live:
            return None
        seen.live = self._next(seen.live, now)
        return self.live_side

    def forget(self, camera: str) -> None:
        """Take notice that the next failure of a camera is of another board, and wanted at once."""
        self._seen.setdefault(camera, _Seen()).failure = 0.0

    def _next(self, due: float, now: float) -> float:
        period = self.period if self.watched else UNWATCHED_SECONDS
        return max(due + period, now + period / 2)  # at this rate on average, whatever the camera's is

    def _is_new(self, seen: _Seen, verdict: FrameVerdict, now: float) -> bool:
        """Return whether a failure is to be kept: it is of another object than the last one, as far as can be told."""
        assert verdict.defects is not None
        if (
            not self.boards
            and seen.defects is not None
            and now < seen.until
            and are_same(seen.defects, verdict.defects)
        ):
            seen.until = now + SAME_SECONDS
            return False
        return now >= seen.failure

    def is_failure(self, verdict: FrameVerdict) -> bool:
        """Return whether a frame's picture was wanted as that of a failure."""
        seen = self._seen.get(verdict.result.camera)
        return seen is not None and seen.number == verdict.result.number

    def kept(self, verdict: FrameVerdict, now: float) -> None:
        """Take notice that a failure is kept: the same one need not be wanted once more."""
        seen = self._seen[verdict.result.camera]
        seen.defects, seen.until = verdict.defects, now + SAME_SECONDS


def are_same(first: Detections, second: Detections) -> bool:
    """Return whether two frames show the same defects: as many, of the same classes, at the same places."""
    if len(first) != len(second):
        return False
    a, b = first.boxes[:, None], second.boxes[None]
    shared = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None).prod(axis=-1)
    areas = [np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(axis=-1) for boxes in (a, b)]
    overlaps = shared / np.maximum(areas[0] + areas[1] - shared, 1e-9)
    overlaps[first.classes[:, None] != second.classes[None]] = 0
    return bool(
        (overlaps.max(axis=1, initial=0) >= OVERLAP).all() and (overlaps.max(axis=0, initial=0) >= OVERLAP).all()
    )


def live(picture: Picture, version: int, side: int, board: dict[str, Any] | None) -> tuple[Live, int]:
    """Return a picture as viewers get it, and a number that is the same for the same pixels.

    Args:
        picture: the picture.
        version: counts up.
        side: its longest side in pixels.
        board: the last board of the camera, ready for JSON.
    """
    image = scaled(picture.image, side)
    verdict = picture.verdict
    result = verdict.result
    jpeg = as_jpeg(image, LIVE_QUALITY)
    header = {
        "camera": result.camera,
        "number": result.number,
        "captured": result.captured_ns / 1e9 if result.captured_ns else None,
        "verdict": verdict.verdict.value,
        "why": verdict.why,
        "boxes": boxes_of(picture),
        "board": board,
    }
    return Live(version, result.camera, result.monotonic_ns, header, jpeg), zlib.crc32(jpeg)


def boxes_of(picture: Picture) -> list[dict[str, Any]]:
    """Return what was found in a picture: box as x, y, width, height in shares of its sides, name, score, defect."""
    verdict = picture.verdict
    found = verdict.result.detections
    if found is None:
        return []
    height, width = picture.image.shape[:2]
    corners = found.boxes[:MOST_BOXES] * picture.scale / np.array([width, height, width, height], np.float32)
    corners = np.clip(np.nan_to_num(corners), 0, 1)
    return [
        {
            "box": [round(float(v), 4) for v in (x1, y1, x2 - x1, y2 - y1)],
            "name": name,
            "score": round(float(score), 3),
            "defect": is_defect,
        }
        for (x1, y1, x2, y2), name, score, is_defect in zip(
            corners, found.names, found.scores, verdict.are_defects, strict=False
        )
    ]
