"""The latest failures with their pictures, within a bound of bytes."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass
from typing import Any

from triton_yolo.clients.stream.events import Picture
from triton_yolo.clients.stream.pictures import as_jpeg, scaled
from triton_yolo.clients.stream.sinks.page.pictures import FAILURE_QUALITY, boxes_of
from triton_yolo.clients.stream.verdict import BoardVerdict, Verdict

SMALL_SIDE = 320  # pixels of the longest side of a picture in the list
LISTED = 60  # newest failures that the page lists
MOST = 1000  # that are kept, however small they are
CANDIDATES = 4  # pictures of a camera whose board has no verdict yet


@dataclass(frozen=True)
class Shot:
    """The picture of a frame that has failed.

    Attributes:
        camera: name of the camera.
        number: of the frame.
        content: what the page says of it, ready for JSON.
        picture: JPEG.
        small: the same, small.
    """

    camera: str
    number: int
    content: dict[str, Any]
    picture: bytes
    small: bytes

    @classmethod
    def of(cls, picture: Picture) -> Shot:
        """Return a picture, coded."""
        result = picture.verdict.result
        height, width = picture.image.shape[:2]
        content = {
            "camera": result.camera,
            "number": result.number,
            "captured": result.captured_ns / 1e9 if result.captured_ns else None,
            "verdict": picture.verdict.verdict.value,
            "why": picture.verdict.why,
            "size": [width, height],
            "boxes": boxes_of(picture),
        }
        big, small = (
            as_jpeg(picture.image, FAILURE_QUALITY),
            as_jpeg(scaled(picture.image, SMALL_SIDE), FAILURE_QUALITY),
        )
        return cls(result.camera, result.number, content, big, small)

    @property
    def defects(self) -> int:
        """How many defects it shows."""
        return sum(box["defect"] for box in self.content["boxes"])


@dataclass
class _Entry:
    """A failure that is kept; of a board it may have no picture, or none yet."""

    shot: Shot | None
    board: BoardVerdict | None

    @property
    def nbytes(self) -> int:
        return len(self.shot.picture) + len(self.shot.small) if self.shot else 0

    def waits_for(self, shot: Shot) -> bool:
        """Return whether a picture shows its board, and is the first to do so."""
        board = self.board
        if self.shot or board is None or board.camera != shot.camera or board.verdict != Verdict.FAIL:
            return False
        return _is_of(shot, board)


class Failures:
    """Keeps the newest failures; what no longer fits goes, oldest first.

    Attributes:
        version: counts changes.
    """

    def __init__(self, most_bytes: int) -> None:
        """Begin empty.

        Args:
            most_bytes: of all pictures together; one of them is kept even if it is larger.
        """
        self.version = 0
        # Is in the addresses of pictures, so that no browser shows one that it has of an earlier run.
        self._run = secrets.token_hex(4)
        self._most, self._bytes, self._added = most_bytes, 0, 0
        self._kept: OrderedDict[int, _Entry] = OrderedDict()
        self._candidates: dict[str, deque[Shot]] = defaultdict(lambda: deque(maxlen=CANDIDATES))
        self._lock = threading.Lock()

    def add_frame(self, shot: Shot) -> None:
        """Keep a frame that has failed."""
        self._add(_Entry(shot, None))

    def add_candidate(self, shot: Shot) -> None:
        """Take a picture that may be of a board that fails, or of one that has failed."""
        with self._lock:
            newest = list(reversed(self._kept.values()))[:LISTED]
            entry = next((one for one in newest if one.waits_for(shot)), None)
            if entry is None:
                self._candidates[shot.camera].append(shot)
                return
            entry.shot = shot
            self._bytes += entry.nbytes
            self._tidy()

    def add_board(self, board: BoardVerdict) -> None:
        """Keep a board that has not passed, with the picture that shows most of it."""
        candidates = self._candidates[board.camera]
        last = board.numbers[1] if board.numbers else -1
        shots = [shot for shot in candidates if _is_of(shot, board)]
        self._candidates[board.camera] = deque((shot for shot in candidates if shot.number > last), CANDIDATES)
        if board.verdict == Verdict.FAIL:
            self._add(_Entry(max(shots, key=lambda shot: shot.defects, default=None), board))
        elif board.verdict == Verdict.NOT_INSPECTED:
            self._add(_Entry(None, board))

    def get(self, run: str, number: int) -> Shot | None:
        """Return a picture; None where it is not there, or no more."""
        with self._lock:
            entry = self._kept.get(number) if run == self._run else None
            return entry.shot if entry else None

    def listed(self) -> list[dict[str, Any]]:
        """Return the newest, newest first, ready for JSON."""
        with self._lock:
            return [self._content(number, self._kept[number]) for number in list(self._kept)[: -LISTED - 1 : -1]]

    @property
    def nbytes(self) -> int:
        """Bytes of all pictures together."""
        return self._bytes

    def _add(self, entry: _Entry) -> None:
        with self._lock:
            self._added += 1
            self._kept[self._added] = entry
            self._bytes += entry.nbytes
            self._tidy()

    def _tidy(self) -> None:
        self.version += 1
        while len(self._kept) > MOST or (self._bytes > self._most and len(self._kept) > 1):
            _, gone = self._kept.popitem(last=False)
            self._bytes -= gone.nbytes

    def _content(self, number: int, entry: _Entry) -> dict[str, Any]:
        shot, board = entry.shot, entry.board
        content: dict[str, Any] = {"id": number, "boxes": [], "size": None, "picture": None, "small": None}
        if shot:
            address = f"failures/{self._run}/{number}"
            content |= {**shot.content, "picture": f"{address}.jpg", "small": f"{address}-small.jpg"}
        if board:
            time_ns = board.last_ns or board.first_ns
            told = {"camera": board.camera, "board": board.board, "verdict": board.verdict.value, "why": board.why}
            content |= told | ({} if shot else {"captured": time_ns / 1e9 if time_ns else None})
        return content


def _is_of(shot: Shot, board: BoardVerdict) -> bool:
    return board.numbers is not None and board.numbers[0] <= shot.number <= board.numbers[1]
