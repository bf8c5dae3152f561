"""Kills or stops a process at every single step in the code of the ring, and checks what it leaves.

``python -m tests.support.ring_steps KIND line|opcode STRIDE`` runs one kind of KINDS at every STRIDE-th line or
instruction of Python, and says how many there were.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from triton_yolo.clients.memory import leases as leases_module
from triton_yolo.clients.memory import ring as ring_module
from triton_yolo.clients.memory.ring import Capture, Reader, Reason, Ring, State, Writer, clear_leftovers

FILES = {ring_module.__file__, leases_module.__file__}
ROWS, NBYTES = 4, 4096
EVENT = sys.argv[2]  # of a trace function: a step
ring_module.PATIENCE = 0.002  # who is stopped in the middle of a change stays there


def write(writer: Writer, capture: Capture) -> None:
    """Fill a frame with its number, and publish it with sizes that tell it too."""
    writer.pixels(capture)[:NBYTES].view(np.uint64)[:] = capture.number
    writer.publish(capture, NBYTES - capture.number, capture.number, capture.number, capture.number)


def check(ring: Ring, capture: Capture) -> None:
    """Hold a taken frame against its number."""
    number = capture.number
    assert (ring.slot(capture.row, capture.column)[:NBYTES].view(np.uint64) == number).all(), capture
    assert capture[3:] == (number, number, NBYTES - number, number, number, number), capture


def put(writer: Writer) -> None:
    """Capture a frame whose times are its number."""
    number = writer._account[ring_module.CAPTURED]
    capture = writer.begin(number, number)
    if capture:
        write(writer, capture)


class Line:
    """A ring of this process with eventfds, and what a reader that was killed has left in it."""

    def __init__(self) -> None:
        self.ring = Ring.create(f"steps-{os.getpid()}", ROWS, 1, NBYTES)
        self.ready, self.freed = (os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2))
        self.seen: set[int] = set()
        self.opened: list[Ring] = []

    def open(self) -> Ring:
        """Open it once more, as another process does."""
        self.opened.append(Ring.open(self.ring.path))
        return self.opened[-1]

    def writer(self, freed: int | None = None) -> Writer:
        """Return a writer with an open file of its own."""
        return Writer(self.open(), 0, self.ready, freed)

    def dead_reader(self, frames: int) -> None:
        """Leave frames that a reader had taken when it was killed."""
        reader = Reader(self.open())
        for capture in reader.ready()[:frames]:
            assert reader.take(capture)
            self.seen.add(capture.number)
        reader.ring.leases.close()  # as the kernel does

    def read(self, reader: Reader, keep: int = 0) -> list[Capture]:
        """Read what is ready, and release all but the first ones."""
        kept = []
        for capture in reader.ready():
            if not reader.take(capture):
                continue
            check(reader.ring, capture)
            assert capture.number not in self.seen, "a frame twice"
            self.seen.add(capture.number)
            if len(kept) < keep:
                kept.append(capture)
            else:
                reader.release(capture)
        return kept

    def settled(self, reader: Reader, kept: list[Capture]) -> None:
        """Hold the account and the slots against each other when both sides are alive or have been recovered."""
        ring = reader.ring
        assert ring.counts(0).missing == 0
        states = ring.states(0).tolist()
        assert State.RESERVED not in states and State.WRITING not in states
        assert states.count(State.TAKEN) == len(kept)
        for capture in kept:
            check(ring, capture)
            reader.release(capture)
        self.read(reader)
        counts = ring.counts(0)
        assert counts.missing == counts.in_flight == 0
        assert set(ring.states(0).tolist()) == {State.FREE}
        assert max(self.seen, default=-1) < counts.captured
        # All slots can be used again, and numbers go on.
        with self.open() as again:
            writer = Writer(again, 0, self.ready)
            for number in range(counts.captured, counts.captured + ROWS):
                capture = writer.begin(number, number)
                assert capture and capture.number == number
                write(writer, capture)
            writer.close()
        self.read(reader)
        assert ring.counts(0).missing == ring.counts(0).in_flight == 0

    def close(self) -> None:
        """Close everything."""
        for ring in (*self.opened, self.ring):
            ring.close()
        os.close(self.ready)
        os.close(self.freed)


def writers_day(line: Line) -> None:
    """Do all that a writer does."""
    with Ring.open(line.ring.path) as ring:
        writer = Writer(ring, 0, line.ready)
        for _ in range(4):
            put(writer)
        row = writer.reserve()
        if row is not None:
            number = writer._account[ring_module.CAPTURED]
            write(writer, writer.begin_in(row, number, number))
        if capture := writer.begin(0, 0):
            writer.abandon(capture, Reason.REFUSED)
        if (row := writer.reserve()) is not None:
            writer.unreserve(row)
        writer.miss(Reason.SOURCE_LOST)
        writer.reserve()
        writer.begin(0, 0)
        writer.close()


def readers_day(line: Line) -> None:
    """Do all that a reader does."""
    with Ring.open(line.ring.path) as ring:
        reader = Reader(ring, {0: line.freed})
        for reason in (None, Reason.LATE):
            for capture in reader.ready()[:1]:
                if reader.take(capture):
                    reader.release(capture, reason)
        for capture in [capture for capture in reader.ready() if reader.take(capture)]:
            reader.release(capture, Reason.REFUSED)
        ring.counts(0)
        reader.close()


def recovery(line: Line) -> None:
    """Start as the process that reads, and settle what a dead writer left."""
    with Ring.open(line.ring.path) as ring:
        Reader(ring)
        ring.recover(0)


def creation(line: Line) -> None:
    """Make a ring in place of a leftover."""
    Ring.create(f"made-{os.getppid()}", 1, 1, 1)


def stepped(step: int, sent: int, day: Callable[[Line], None], line: Line) -> int:
    """Run a day in a process that sends itself a signal at a step; return its number."""
    pid = os.fork()
    if pid:
        return pid
    left = step

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in FILES:
            return None
        frame.f_trace_opcodes = EVENT == "opcode"
        if event == EVENT:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), sent)
        return trace

    try:
        sys.settrace(trace)
        day(line)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def writer_killed(line: Line, step: int) -> bool:
    """A writer is killed, its reader lives."""
    first = line.writer()
    for _ in range(3):
        put(first)
    first.close()
    reader = Reader(line.ring)
    kept = []
    if reader.take(capture := reader.ready()[1]):
        line.seen.add(capture.number)
        kept.append(capture)
    _, status = os.waitpid(stepped(step, signal.SIGKILL, writers_day, line), 0)
    line.ring.recover(0)
    line.settled(reader, kept)
    return over(status)


def both_killed(line: Line, step: int) -> bool:
    """A writer is killed after its reader was."""
    first = line.writer()
    for _ in range(4):
        put(first)
    first.close()
    line.dead_reader(2)
    _, status = os.waitpid(stepped(step, signal.SIGKILL, writers_day, line), 0)
    reader = Reader(line.ring)
    line.ring.recover(0)
    line.settled(reader, [])
    return over(status)


def reader_killed(line: Line, step: int) -> bool:
    """A reader that follows a dead one is killed, and the writer reuses its slots before there is another."""
    writer = line.writer()
    for _ in range(4):
        put(writer)
    line.dead_reader(1)
    _, status = os.waitpid(stepped(step, signal.SIGKILL, readers_day, line), 0)
    assert line.ring.counts(0).missing >= 0
    for _ in range(step % 4):
        put(writer)
    reader = Reader(line.ring)
    kept = line.read(reader, 1)
    assert line.ring.counts(0).missing == 0
    writer.close()
    line.settled(reader, kept)
    return over(status)


def recovery_killed(line: Line, step: int) -> bool:
    """Who settles the account of a dead writer is killed too."""
    writer = line.writer()
    for _ in range(2):
        put(writer)
    line.dead_reader(1)
    writer.begin(0, 0)
    writer.reserve()
    writer._account[ring_module.VERSION] += 1
    writer._account[ring_module.CAPTURED] += 1
    writer._ring.leases.close()
    _, status = os.waitpid(stepped(step, signal.SIGKILL, recovery, line), 0)
    reader = Reader(line.ring)
    line.ring.recover(0)
    line.settled(reader, [])
    return over(status)


def creation_killed(line: Line, step: int) -> bool:
    """Who makes a ring is killed: the next one can make it, and nothing is left of either."""
    name = f"made-{os.getpid()}"
    path = ring_module.FOLDER / f"{ring_module.PREFIX}{os.getuid()}-{name}"
    Ring.create(name, 1, 1, 1).leases.close()  # a leftover
    _, status = os.waitpid(stepped(step, signal.SIGKILL, creation, line), 0)
    if step % 2:
        Ring.create(name, 1, 1, 1).close()
    else:
        clear_leftovers()
    assert not path.exists()
    assert line.ring.path.exists()
    return over(status)


def writer_stopped(line: Line, step: int) -> bool:
    """A reader starts and reads while a writer stands still, and another one has been killed before."""
    first = line.writer()
    for _ in range(4):
        put(first)
    first.close()
    line.dead_reader(2)
    pid = stepped(step, signal.SIGSTOP, writers_day, line)
    _, status = os.waitpid(pid, os.WUNTRACED)
    reader, kept = None, []
    try:
        reader = Reader(line.ring)
        kept = line.read(reader, 1)
    except TimeoutError:
        assert os.WIFSTOPPED(status), "nobody was in the middle of a change"
    if os.WIFSTOPPED(status):
        os.kill(pid, signal.SIGCONT)
        _, end = os.waitpid(pid, 0)
        assert end == 0
    line.settled(reader or Reader(line.ring), kept)
    return over(status)


def reader_stopped(line: Line, step: int) -> bool:
    """A writer fills the ring over and over while a reader stands still."""
    writer = line.writer()
    for _ in range(4):
        put(writer)
    line.dead_reader(1)
    pid = stepped(step, signal.SIGSTOP, readers_day, line)
    _, status = os.waitpid(pid, os.WUNTRACED)
    for _ in range(1 + step % 6):
        put(writer)
    if os.WIFSTOPPED(status):
        os.kill(pid, signal.SIGCONT)
        _, end = os.waitpid(pid, 0)
        assert end == 0
    writer.close()
    reader = Reader(line.ring)
    assert line.ring.counts(0).dropped[Reason.CONSUMER_LOST] == 1, "what the first reader had, and no other"
    line.settled(reader, line.read(reader, 1))
    return over(status)


def over(status: int) -> bool:
    """Return whether the process came to the end of its day before the step."""
    assert status == 0 or os.WIFSTOPPED(status) or os.WTERMSIG(status) == signal.SIGKILL, status
    return status == 0


KINDS = {
    kind.__name__: kind
    for kind in (
        *(writer_killed, both_killed, reader_killed, recovery_killed, creation_killed),
        *(writer_stopped, reader_stopped),
    )
}


def main(kind: str, stride: int) -> None:
    """Run one kind, from the first step on until there are no more."""
    for step in itertools.count(1, stride):
        line = Line()
        try:
            ended = KINDS[kind](line, step)
        except BaseException:
            sys.stderr.write(f"step {step}\n")
            raise
        finally:
            line.close()
        if ended:
            sys.stdout.write(f"{step - 1} steps\n")
            return


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[3]))
