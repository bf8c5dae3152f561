"""Where the frames of one camera are, and what became of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from triton_yolo.clients.memory.ring import Counts, Reader, Reason, Ring, State


@dataclass
class Seat:
    """A column of a ring, for one camera.

    Attributes:
        ring: the ring.
        reader: its reader.
        column: the column.
        base: frames that the camera had captured when it took this seat: its numbers go on.
        freed: eventfd that tells the camera of freed slots.
        alive: whether a process writes there, or died so lately that its account is not settled.
    """

    ring: Ring
    reader: Reader
    column: int
    base: int
    freed: int
    alive: bool = False

    def counts(self) -> Counts:
        """Return the account of the column."""
        return self.ring.counts(self.column)

    @property
    def taken(self) -> int:
        """How many of its slots are taken."""
        return self.ring.states(self.column).tolist().count(State.TAKEN)


@dataclass
class Account:
    """What became of a camera's frames, in all of its seats.

    Attributes:
        captured: frames that have a number.
        answered: frames that were inspected in time.
        dropped: frames that were not, by reason.
        in_flight: frames that are in the ring.
    """

    captured: int = 0
    answered: int = 0
    dropped: Counter[Reason] = field(default_factory=Counter)
    in_flight: int = 0

    def add(self, counts: Counts | Account) -> None:
        """Add the account of a seat, or of another camera."""
        self.captured += counts.captured
        self.answered += counts.answered
        self.dropped.update(counts.dropped)
        self.in_flight += counts.in_flight

    @property
    def missing(self) -> int:
        """How many captured frames are nowhere."""
        return self.captured - self.answered - sum(self.dropped.values()) - self.in_flight
