"""The last frame of each stream, in memory that has bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import KeyWanted, NoRoom, TileError
from .update import Update

Pixels = npt.NDArray[np.uint8]


@dataclass
class Kept:
    """The last frame of a stream.

    Attributes:
        session: of its key frame.
        number: of the frame.
        frame: uint8 [H, W, 3] RGB; changed in place by the next request of the stream, so whoever keeps it copies it.
        used: when a request of the stream came last, in seconds.
    """

    session: int
    number: int
    frame: Pixels
    used: float


class Streams:
    """What is known of each stream.

    Attributes:
        nbytes: of all frames.
    """

    def __init__(self, max_streams: int, max_bytes: int, idle_seconds: float) -> None:
        """Begin without streams.

        Args:
            max_streams: the most streams.
            max_bytes: the most bytes of all their frames.
            idle_seconds: seconds after its last request from which on a stream is forgotten.
        """
        self._max_streams, self._max_bytes, self._idle_seconds = max_streams, max_bytes, idle_seconds
        self._kept: dict[bytes, Kept] = {}
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def apply(self, update: Update, now: float) -> Pixels:
        """Return the whole frame that an update makes; one that is refused changes nothing.

        Args:
            update: what a request says.
            now: the time, in seconds that only grow.

        Returns:
            uint8 [H, W, 3] RGB; the next update of the stream changes it.

        Raises:
            KeyWanted: the frame that it builds on is not here.
            NoRoom: it would begin one stream too many, or more bytes than there may be.
            TileError: a tile lies outside of the frame.
        """
        self._forget_idle(now)
        return self._begin(update, now) if update.key else self._go_on(update, now)

    def forget(self, stream: bytes, session: int) -> None:
        """Give up a stream; one that is not known, or of another session, is left as it is."""
        kept = self._kept.get(stream)
        if kept and kept.session == session:
            self._drop(stream)

    def _begin(self, update: Update, now: float) -> Pixels:
        before = self._kept.get(update.stream)
        nbytes = self.nbytes + update.tiles.nbytes - (before.frame.nbytes if before else 0)
        if before is None and len(self._kept) >= self._max_streams:
            raise NoRoom(f"this server keeps the frames of at most {self._max_streams} (max_streams of assemble)")
        if nbytes > self._max_bytes:
            raise NoRoom(
                f"the frames of all streams would have {nbytes} bytes, and this server keeps at most "
                f"{self._max_bytes} (max_bytes of assemble)"
            )
        self.nbytes = nbytes
        frame: Pixels = update.tiles[0].copy()  # the tiles lie in the request's memory
        self._kept[update.stream] = Kept(update.session, update.number, frame, now)
        return frame

    def _go_on(self, update: Update, now: float) -> Pixels:
        kept = self._kept.get(update.stream)
        if kept is None:
            raise KeyWanted(f"stream {_shown(update)} is not known here; the server was restarted, or it was idle")
        if kept.session != update.session:
            raise KeyWanted(f"stream {_shown(update)} has had another key frame since; do two clients send it?")
        if kept.number != update.base:
            raise KeyWanted(
                f"frame {update.number} of stream {_shown(update)} builds on {update.base}, and the last one here is "
                f"{kept.number}"
            )
        height, width = update.tiles.shape[1:3]
        room = np.array(kept.frame.shape[:2]) - (height, width)
        outside = ((update.positions < 0) | (update.positions > room)).any(axis=1)
        if outside.any():
            raise TileError(
                f"positions must lie so that tiles of {height}x{width} are inside the frame of "
                f"{kept.frame.shape[0]}x{kept.frame.shape[1]}; got {update.positions[outside][0].tolist()}"
            )
        for tile, (row, column) in zip(update.tiles, update.positions.tolist(), strict=True):
            kept.frame[row : row + height, column : column + width] = tile
        kept.number, kept.used = update.number, now
        return kept.frame

    def _forget_idle(self, now: float) -> None:
        for stream in [name for name, kept in self._kept.items() if now - kept.used > self._idle_seconds]:
            self._drop(stream)

    def _drop(self, stream: bytes) -> None:
        self.nbytes -= self._kept.pop(stream).frame.nbytes


def _shown(update: Update) -> str:
    return repr(update.stream.decode(errors="replace"))
