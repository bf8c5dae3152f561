"""Films of everything that cameras see, with something drawn on it: one after the other, each of a bounded length."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from triton_yolo.clients.stream.sinks.records.drawing import Image, with_boxes
from triton_yolo.clients.stream.sinks.records.films import Film
from triton_yolo.clients.stream.sinks.records.names import stem
from triton_yolo.clients.stream.sinks.records.recent import SECOND
from triton_yolo.clients.stream.sinks.records.store import Store
from triton_yolo.clients.stream.verdict import FrameVerdict


class _Reel:
    """A film that is being written; its file can be played up to its last two seconds at any moment."""

    def __init__(self, store: Store, what: str, frame: FrameVerdict) -> None:
        result = frame.result
        place = stem(result.camera, result.captured_ns, what, result.number)
        self.path = place.with_name(f"{place.name}.mp4")
        self.begin = result.monotonic_ns
        self.part: Path = store.part(self.path)
        self._file: IO[bytes] = self.part.open("wb")
        self.film = Film(self._file, whole=False)

    def close(self) -> None:
        """End the file."""
        try:
            self.film.close()
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Remove the file, whatever has happened to it."""
        with contextlib.suppress(OSError):
            self.close()
        with contextlib.suppress(OSError):
            self.part.unlink()


class Everything:
    """Writes a film of each camera."""

    def __init__(
        self,
        store: Store,
        seconds: float,
        what: str = "all",
        draw: Callable[[Image, float, FrameVerdict], Image] = with_boxes,
    ) -> None:
        """Prepare.

        Args:
            store: takes each film when it is done.
            seconds: length of a film.
            what: kind of record, for its name.
            draw: returns a picture, uint8 [H, W, 3] BGR, with what is to be seen on it; gets the picture, its pixels
                for each pixel of the frame, and the verdict on that.
        """
        self._what, self._draw = what, draw
        self._store, self._length = store, int(seconds * SECOND)
        self._reels: dict[str, _Reel] = {}

    def add(self, frame: FrameVerdict, image: Image, scale: float) -> None:
        """Add a frame to the film of its camera; what cannot be written is counted by the store.

        Args:
            frame: the verdict on it.
            image: its picture, uint8 [H, W, 3] BGR.
            scale: pixels of that for each pixel of the frame.
        """
        camera, at = frame.result.camera, frame.result.monotonic_ns
        reel = self._reels.get(camera)
        if reel and at - reel.begin >= self._length:
            self._end(camera)
            reel = None
        try:
            if reel is None:
                reel = self._reels[camera] = _Reel(self._store, self._what, frame)
            reel.film.add(self._draw(image, scale, frame), at)
        except OSError as error:
            self._store.failed(error)
            if broken := self._reels.pop(camera, None):
                broken.abandon()

    def close(self) -> None:
        """End all films."""
        for camera in list(self._reels):
            self._end(camera)

    def _end(self, camera: str) -> None:
        reel = self._reels.pop(camera)
        try:
            reel.close()
        except OSError as error:
            self._store.failed(error)
            reel.abandon()
        else:
            self._store.adopt(reel.part, reel.path)
