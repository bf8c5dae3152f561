"""What is kept of each stream, in memory that has bounds: of assemble its last frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from .errors import BadUpdate, KeyWanted, NoRoom

NAME_BYTES = 256  # of a stream's name, at most


@dataclass(frozen=True)
class Place:
    """Where a frame stands in its stream.

    Attributes:
        stream: name of the stream, UTF-8.
        session: drawn by the client for each key frame; tells chains of frames apart that have the same numbers.
        number: of the frame, 0 or more.
        base: number of the frame that it builds on; -1 for a key frame.
        key: whether it builds on none.
    """

    stream: bytes
    session: int
    number: int
    base: int
    key: bool

    def check(self) -> None:
        """Refuse what no client sends.

        Raises:
            BadUpdate: the name is too long or empty, or the numbers do not fit each other.
        """
        if not 1 <= len(self.stream) <= NAME_BYTES:
            raise BadUpdate(f"stream must be a name of 1 to {NAME_BYTES} bytes, got {len(self.stream)}")
        if self.number < 0 or (self.base != -1 if self.key else not 0 <= self.base < self.number):
            wanted = "-1 for a key frame" if self.key else "0 or more and below the number"
            got = [self.number, self.base]
            raise BadUpdate(f"numbers must be session, number of 0 or more, and base, {wanted}; got {got}")


class Update(ABC):
    """A frame of a stream, as far as it differs from an earlier one.

    Attributes:
        place: where it stands.
    """

    place: Place

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that are kept of a key frame."""

    @abstractmethod
    def whole(self) -> npt.NDArray[Any]:
        """Return what is kept of a key frame, in memory of its own."""

    @abstractmethod
    def onto(self, kept: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what is kept from now on: the same memory, changed, or other memory.

        Args:
            kept: what the frame builds on; as it was where this raises BadUpdate.
        """


@dataclass
class Kept:
    """What is kept of a stream.

    Attributes:
        session: of its key frame.
        number: of the frame.
        array: of the frame; the next request of the stream may change it, so whoever keeps it copies it.
        used: when a request of the stream came last, in seconds.
    """

    session: int
    number: int
    array: npt.NDArray[Any]
    used: float


class Streams:
    """What is known of each stream.

    Attributes:
        nbytes: of all frames.
    """

    def __init__(self, model: str, max_streams: int, max_bytes: int, idle_seconds: float) -> None:
        """Begin without streams.

        Args:
            model: name of the model, whose configuration has these bounds.
            max_streams: the most streams.
            max_bytes: the most bytes of all their frames.
            idle_seconds: seconds after its last request from which on a stream is forgotten.
        """
        self._model = model
        self._max_streams, self._max_bytes, self._idle_seconds = max_streams, max_bytes, idle_seconds
        self._kept: dict[bytes, Kept] = {}
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def apply(self, update: Update, now: float) -> npt.NDArray[Any]:
        """Return what an update makes of a stream; one that is refused changes nothing.

        Args:
            update: what a request says.
            now: the time, in seconds that only grow.

        Returns:
            what is kept of the stream; the next update may change it.

        Raises:
            KeyWanted: the frame that it builds on is not here.
            NoRoom: it would begin one stream too many, or more bytes than there may be.
            BadUpdate: it does not fit what it builds on.
        """
        self._forget_idle(now)
        return self._begin(update, now) if update.place.key else self._go_on(update, now)

    def forget(self, stream: bytes, session: int) -> None:
        """Give up a stream; one that is not known, or of another session, is left as it is."""
        kept = self._kept.get(stream)
        if kept and kept.session == session:
            self._drop(stream)

    def _begin(self, update: Update, now: float) -> npt.NDArray[Any]:
        place = update.place
        before = self._kept.get(place.stream)
        nbytes = self.nbytes + update.nbytes - (before.array.nbytes if before else 0)
        if before is None and len(self._kept) >= self._max_streams:
            raise NoRoom(f"this server keeps the frames of at most {self._max_streams} (max_streams of {self._model})")
        if nbytes > self._max_bytes:
            raise NoRoom(
                f"the frames of all streams would have {nbytes} bytes, and this server keeps at most "
                f"{self._max_bytes} (max_bytes of {self._model})"
            )
        array = update.whole()
        self.nbytes = nbytes
        self._kept[place.stream] = Kept(place.session, place.number, array, now)
        return array

    def _go_on(self, update: Update, now: float) -> npt.NDArray[Any]:
        place = update.place
        kept, name = self._kept.get(place.stream), repr(place.stream.decode(errors="replace"))
        if kept is None:
            raise KeyWanted(f"stream {name} is not known here; the server was restarted, or it was idle")
        if kept.session != place.session:
            raise KeyWanted(f"stream {name} has had another key frame since; do two clients send it?")
        if kept.number != place.base:
            raise KeyWanted(
                f"frame {place.number} of stream {name} builds on {place.base}, and the last one here is {kept.number}"
            )
        kept.array = update.onto(kept.array)
        kept.number, kept.used = place.number, now
        return kept.array

    def _forget_idle(self, now: float) -> None:
        for stream in [name for name, kept in self._kept.items() if now - kept.used > self._idle_seconds]:
            self._drop(stream)

    def _drop(self, stream: bytes) -> None:
        self.nbytes -= self._kept.pop(stream).array.nbytes
