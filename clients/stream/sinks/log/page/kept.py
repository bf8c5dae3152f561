"""What the sink records has kept of a frame: pictures and a film, by the names that it gives them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np

from triton_yolo.clients.stream.pictures import as_jpeg, scaled
from triton_yolo.clients.stream.sinks.log.paging import LoggedFrame
from triton_yolo.clients.stream.sinks.records.names import moment, stem
from triton_yolo.clients.stream.strict import NAME

SMALL_SIDE, QUALITY = 320, 80  # of the pictures in the list
STAMP = len("20261127T103015.123Z")  # of a record's name
KINDS = ("plain.jpg", "boxes.jpg")  # of pictures


class Kept:
    """A folder of records, or none."""

    def __init__(self, folder: Path | None) -> None:
        """Prepare.

        Args:
            folder: of the records; None where there is none.
        """
        self._folder = folder

    def pictures(self, frame: LoggedFrame) -> dict[str, Path]:
        """Return the pictures that there are of a frame, by KINDS."""
        place = self._place(frame, frame.verdict.replace(" ", "-"))
        if place is None:
            return {}
        paths = zip(KINDS, (place.with_name(f"{place.name}{end}") for end in (".jpg", ".boxes.jpg")), strict=True)
        return {kind: path for kind, path in paths if path.is_file()}

    def film(self, frame: LoggedFrame) -> Path | None:
        """Return the film that a failed frame is in; it bears the name of the first failure that it shows."""
        place = self._place(frame, "film")
        if place is None:
            return None
        before = [path for path in place.parent.glob("*-film-*.mp4") if path.name[:STAMP] <= place.name[:STAMP]]
        film = max(before, default=None)
        return film if film and _end_of(film) >= moment(frame.at_ns) else None

    def _place(self, frame: LoggedFrame, what: str) -> Path | None:
        """Return where a record of a frame is, without an ending; None where there can be none."""
        if self._folder is None or not re.fullmatch(NAME, frame.camera):  # a log may have been written by others
            return None
        return self._folder / stem(frame.camera, frame.at_ns, what, frame.number)


def _end_of(film: Path) -> str:
    """Return when the last frame of a film was captured, as ``moment`` has it; empty where that is not known."""
    try:
        return str(json.loads(film.with_suffix(".json").read_bytes())["frames"][-1]["captured"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def small(path: Path) -> bytes | None:
    """Return a picture for the list, as a JPEG; None where it cannot be read."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError:  # the records have just removed it
        return None
    image = cv2.imdecode(data, cv2.IMREAD_REDUCED_COLOR_4) if data.size else None
    return None if image is None else as_jpeg(scaled(np.asarray(image, np.uint8), SMALL_SIDE), QUALITY)
