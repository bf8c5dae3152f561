"""The ring under any order of what writers, readers and deaths do."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from triton_yolo.clients.memory.ring import Capture, Reader, Reason, Ring, State, Writer

REASONS = st.one_of(st.none(), st.sampled_from(list(Reason)))


class Machine(RuleBasedStateMachine):
    """A writer of one column and a reader, each with an open file of its own; both may die at any time."""

    @initialize(rows=st.integers(1, 5), waits=st.booleans())
    def create(self, rows: int, waits: bool) -> None:
        self.ring = Ring.create(f"machine-{os.getpid()}", rows, 2, 8)
        self.ready, self.freed = (os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2))
        self.waits = self.freed if waits else None
        self.begun, self.reserved, self.taken = list[Capture](), list[int](), list[Capture]()
        self.captured, self.answered, self.seen = 0, 0, set[int]()
        self.stale = list[Capture]()
        self._writer()
        self._reader()

    def _writer(self) -> None:
        self.writer = Writer(Ring.open(self.ring.path), 1, self.ready, self.waits)

    def _reader(self) -> None:
        self.reader = Reader(Ring.open(self.ring.path), {1: self.freed})

    @rule(publish=st.booleans())
    def begin(self, publish: bool) -> None:
        waited = self.waits is not None and self.writer.wait(0)
        capture = self.writer.begin(self.captured, 0)
        assert capture or not waited
        self.captured += 1
        if capture:
            assert capture.number == self.captured - 1
            assert capture.row not in {one.row for one in (*self.begun, *self.taken)} | set(self.reserved)
            self.writer.pixels(capture)[:8] = capture.number % 256
            self.begun.append(capture)
            if publish:
                self.publish()

    @rule()
    @precondition(lambda self: self.begun)
    def publish(self) -> None:
        capture = self.begun.pop()
        self.writer.publish(capture, 8, capture.number, 1, 0)

    @rule()
    @precondition(lambda self: self.begun)
    def abandon(self) -> None:
        self.writer.abandon(self.begun.pop(0), Reason.LATE)

    @rule()
    def miss(self) -> None:
        self.writer.miss(Reason.SOURCE_LOST)
        self.captured += 1

    @rule()
    def reserve(self) -> None:
        row = self.writer.reserve()
        if row is not None:
            assert row not in {one.row for one in (*self.begun, *self.taken)} | set(self.reserved)
            self.reserved.append(row)

    @rule(use=st.booleans())
    @precondition(lambda self: self.reserved)
    def use_reserved(self, use: bool) -> None:
        row = self.reserved.pop()
        if use:
            capture = self.writer.begin_in(row, self.captured, 0)
            assert capture.number == self.captured
            self.writer.pixels(capture)[:8] = capture.number % 256
            self.captured += 1
            self.begun.append(capture)
        else:
            self.writer.unreserve(row)

    @rule()
    def look(self) -> None:
        self.stale = self.reader.ready()

    @rule(data=st.data())
    @precondition(lambda self: self.stale)
    def take(self, data: Any) -> None:
        """Also what may have been overwritten or taken since it was looked at."""
        capture = data.draw(st.sampled_from(self.stale))
        if self.reader.take(capture):
            assert capture.number not in self.seen
            self.seen.add(capture.number)
            self.taken.append(capture)

    @rule(reason=REASONS)
    @precondition(lambda self: self.taken)
    def release(self, reason: Reason | None) -> None:
        self.reader.release(self.taken.pop(0), reason)
        self.answered += reason is None

    @rule(properly=st.booleans())
    def replace_writer(self, properly: bool) -> None:
        if properly:
            self.writer.close()
        self.writer._ring.close()
        self.reader.ring.recover(1)
        self.begun, self.reserved = [], []
        self._writer()

    @rule(properly=st.booleans(), between=st.integers(0, 3))
    def replace_reader(self, properly: bool, between: int) -> None:
        if properly:
            self.reader.close()
        self.reader.ring.close()
        self.taken = []
        for _ in range(between):
            self.begin(True)
        self._reader()

    @invariant()
    def adds_up(self) -> None:
        if not hasattr(self, "ring"):
            return
        counts = self.ring.counts(1)
        assert counts.missing == 0
        assert (counts.captured, counts.answered) == (self.captured, self.answered)
        states = self.ring.states(1).tolist()
        assert states.count(State.TAKEN) == len(self.taken) <= self.reader.limit
        assert states.count(State.WRITING) == len(self.begun)
        assert states.count(State.RESERVED) == len(self.reserved)
        for capture in self.taken:
            assert (self.ring.slot(capture.row, 1)[:8] == capture.number % 256).all()
            assert capture.height == capture.monotonic_ns == capture.number
        assert self.ring.counts(0) == (0, 0, {}, 0)

    def teardown(self) -> None:
        if hasattr(self, "ring"):
            for ring in (self.writer._ring, self.reader.ring, self.ring):
                ring.close()
            os.close(self.ready)
            os.close(self.freed)
            assert not self.ring.path.exists()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
