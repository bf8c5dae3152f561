"""A ring of slots in shared memory, through which cameras' processes hand frames to the process that detects.

One file in /dev/shm holds rows x columns of slots. A column belongs to one writer at a time, and one reader takes
frames from all columns. Slots of one row lie side by side, so frames that several cameras took at the same moment can
be one tensor. Who uses a slot holds its lease (``leases``), so that a process that is killed gives up its slots and
nobody waits for it. Triton registers the file once, and requests name offsets in it.

What is counted, and by whom, so that it can be checked after any death:

    captured = answered + dropped by the writer + dropped by the reader + slots that are written, ready or taken

Each side writes its own counters, and states one word at a time in an order in which a death between two of them leaves
the left side larger, never smaller: the difference is what died with the process (``recover``, ``Reader``). Words are
aligned and of 8 bytes or fewer, so they are never seen half-written. A reader learns of a frame by an eventfd, which is
written after the frame. Whoever takes a lease sees all that its last holder wrote, on every processor, since system
calls order it; ``counts`` takes no lease, and relies on a processor that keeps the order of stores, as x86-64 does.

Objects of this module belong to one thread.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import select
import stat
import struct
import sys
import time
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.memory.leases import Leases
from triton_yolo.clients.request import SharedTensor

FOLDER = Path("/dev/shm")  # where Linux keeps POSIX shared memory (shm_overview(7))
PREFIX = "triton-yolo-ring-"  # of names in /dev/shm and on the server; the user's number and the line's name follow
MAGIC = 0x3130474E49525954  # "TYRING01"
PAGE, HUGE_PAGE = mmap.PAGESIZE, 2 * 1024 * 1024
POPULATE_WRITE = 23  # MADV_POPULATE_WRITE (madvise(2)), Linux 5.14: an error where there is no room, and no SIGBUS
OWNER_LEASE = 1 << 20  # number of the lease of whoever made the file; behind those of any slot
REMOVAL_LEASE = OWNER_LEASE + 1  # of whoever finds out whether the owner lives, and removes the file if it does not
PATIENCE = 1.0  # seconds to wait for a writer in the middle of a change, which takes microseconds, unless stopped


class State(IntEnum):
    """What a slot is used for."""

    FREE = 0
    RESERVED = 1  # a driver's, for a frame that does not exist yet
    WRITING = 2
    READY = 3
    TAKEN = 4


class Reason(IntEnum):
    """Why a frame was not answered; the number is its place in the counters."""

    RING_FULL = 0
    LATE = 1
    SOURCE_LOST = 2  # its source ended, or what it delivered cannot be used
    REFUSED = 3
    SERVER_AWAY = 4
    CONSUMER_LOST = 5  # the reader was killed while it had the frame

    @property
    def words(self) -> str:
        """The reason in plain words."""
        return self.name.lower().replace("_", " ")


_HEADER = np.dtype([("magic", "u8"), ("rows", "u8"), ("columns", "u8"), ("stride", "u8"), ("data", "u8")])
# Places of words in the record of a column.
VERSION, CAPTURED, DROPPED_BY_WRITER = 0, 1, 2  # the writer's; the version is odd while it changes them
ANSWERED, DROPPED_BY_READER = 16, 17  # the reader's
COLUMN_BYTES, SLOT_BYTES = 256, 64  # of a column's record, and of a slot's
# A slot's record begins with its state, a uint32; these are its other parts, and where they begin.
_TIMES, _TIMES_AT = struct.Struct("@QQQ"), 8  # number, monotonic_ns, wall_ns
_SIZES, _SIZES_AT = struct.Struct("@QIII"), 32  # nbytes, height, width, format
_FIELDS = struct.Struct("@QQQQIII")  # both, from _TIMES_AT on


class Capture(NamedTuple):
    """A frame in a slot.

    Attributes:
        column: column of the slot: the camera.
        row: row of the slot.
        number: number of the frame among those of its column, from 0 on, without a gap.
        monotonic_ns: time of capture on CLOCK_MONOTONIC, in nanoseconds.
        wall_ns: time of capture since 1970, in nanoseconds.
        nbytes: size of the frame in bytes.
        height: height of the picture, in pixels.
        width: width of the picture, in pixels.
        format: number of the pixel format, whose meaning is the users' of the ring.
    """

    column: int
    row: int
    number: int
    monotonic_ns: int
    wall_ns: int
    nbytes: int
    height: int
    width: int
    format: int


class Counts(NamedTuple):
    """The account of one column.

    Attributes:
        captured: frames that have a number.
        answered: frames whose release said so.
        dropped: frames that will not be answered, by reason; those with none are left out.
        in_flight: frames in slots: written, ready or taken.
    """

    captured: int
    answered: int
    dropped: Mapping[Reason, int]
    in_flight: int

    @property
    def missing(self) -> int:
        """How many captured frames are nowhere: 0, unless a process has died and what it had is not yet counted."""
        return self.captured - self.answered - sum(self.dropped.values()) - self.in_flight


class Ring:
    """The file, mapped; ``create`` makes it, and other processes ``open`` it.

    Attributes:
        path: path of the file.
        name: name of the file, under which it is registered with the server.
        rows: slots of a column.
        columns: slots of a row.
        stride: bytes from one slot to the next.
        nbytes: size of the file.
    """

    def __init__(self, path: Path, leases: Leases, owner: bool) -> None:
        """Map an open file; use ``create`` or ``open``."""
        self.path, self.name, self.leases, self._owner = path, path.name, leases, owner
        self.nbytes = os.fstat(leases.file).st_size
        file = os.open(f"/proc/self/fd/{leases.file}", os.O_RDWR | os.O_CLOEXEC)  # which the map keeps open: see Leases
        try:
            self._map = mmap.mmap(file, self.nbytes)
        finally:
            os.close(file)
        header = np.frombuffer(self._map, _HEADER, 1)[0]
        self.rows, self.columns, self.stride = (int(header[name]) for name in ("rows", "columns", "stride"))
        self._data = int(header["data"])
        self._bytes = np.frombuffer(self._map, np.uint8)

    @classmethod
    def create(cls, name: str, rows: int, columns: int, slot_bytes: int, huge_pages: bool = False) -> Ring:
        """Make a ring, in place of one whose owner has died.

        Args:
            name: name of the line, of letters, digits, ``.``, ``_`` and ``-``.
            rows: slots of a column.
            columns: slots of a row.
            slot_bytes: size of the largest frame in bytes; slots begin at pages.
            huge_pages: ask for pages of 2 MiB, which the system gives where the mount of /dev/shm allows them, as after
                ``mount -o remount,huge=advise /dev/shm``; ``huge_bytes`` says whether it did.

        Raises:
            DetectionError: the name cannot be used, belongs to somebody else or to a ring in use, or there is no room.
        """
        if not re.fullmatch(r"[\w.-]{1,100}", name, re.ASCII):
            raise DetectionError(f"{name!r} is no name of a line: use letters, digits, '.', '_' and '-', at most 100")
        if min(rows, columns, slot_bytes) < 1:
            raise DetectionError(
                f"a ring needs rows, columns and bytes of 1 or more; got {rows}, {columns}, {slot_bytes}"
            )
        if (rows + 1) * columns + 2 > OWNER_LEASE:
            raise DetectionError(f"{rows} x {columns} slots are too many for a ring")
        path = FOLDER / f"{PREFIX}{os.getuid()}-{name}"
        remove_leftover(path)
        stride = -(-slot_bytes // PAGE) * PAGE
        align = HUGE_PAGE if huge_pages else PAGE
        records = PAGE + COLUMN_BYTES * columns + SLOT_BYTES * rows * columns
        data = -(-records // align) * align
        leases = _nameless()
        try:
            leases.acquire(OWNER_LEASE)
            _allocate(leases.file, data + rows * columns * stride, huge_pages)
            os.pwrite(leases.file, np.array([(MAGIC, rows, columns, stride, data)], _HEADER).tobytes(), 0)
            ring = cls(path, leases, owner=True)
            _give_name(leases.file, path)
            return ring
        except BaseException:
            leases.close()
            raise

    @classmethod
    def open(cls, path: Path) -> Ring:
        """Open a ring that another process made.

        Raises:
            DetectionError: there is none, or it is another user's.
        """
        leases = _open(path)
        if leases is None:
            raise DetectionError(f"there is no ring {path}")
        try:
            if os.pread(leases.file, 8, 0) != MAGIC.to_bytes(8, "little"):
                raise DetectionError(f"{path} is no ring of this version")
            return cls(path, leases, owner=False)
        except BaseException:
            leases.close()
            raise

    def __enter__(self) -> Ring:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def slot(self, row: int, column: int) -> npt.NDArray[np.uint8]:
        """Return the bytes of a slot, uint8 [stride], writable."""
        start = self.offset(row, column)
        return self._bytes[start : start + self.stride]

    def offset(self, row: int, column: int) -> int:
        """Return where a slot begins in the file, in bytes."""
        return self._data + self.index(row, column) * self.stride

    def index(self, row: int, column: int) -> int:
        """Return the number of a slot: also the number of its lease."""
        return row * self.columns + column

    def tensor(self, first: Capture, shape: tuple[int, ...]) -> SharedTensor:
        """Return frames as the tensor of a request.

        Args:
            first: first of the frames; the others are in the slots behind it.
            shape: shape of the tensor, with the batch dimension first; uint8.
        """
        return SharedTensor(self.name, int(np.prod(shape)), self.offset(first.row, first.column), shape)

    def counts(self, column: int) -> Counts:
        """Return the account of a column, as the process of the reader sees it.

        Raises:
            TimeoutError: the writer was killed or stopped in the middle of a change, and the column has not been
                recovered.
        """
        captured, by_writer, states = self._writers_side(column)
        account = self.account(column)
        dropped = {
            reason: by_writer[reason] + account[DROPPED_BY_READER + reason]
            for reason in Reason
            if by_writer[reason] or account[DROPPED_BY_READER + reason]
        }
        in_flight = sum(states.count(state) for state in (State.WRITING, State.READY, State.TAKEN))
        return Counts(captured, account[ANSWERED], dropped, in_flight)

    def _writers_side(self, column: int) -> tuple[int, list[int], list[int]]:
        """Return of one moment: how many frames were captured, how many dropped by reason, and the slots' states."""
        account, states = self.account(column), self.states(column)
        alive, deadline = True, 0.0
        while True:
            version = account[VERSION]
            captured, *by_writer = account[CAPTURED : DROPPED_BY_WRITER + len(Reason)].tolist()
            found = states.tolist()
            if version % 2 == 0 and account[VERSION] == version:
                return captured, by_writer, found
            deadline = deadline or time.monotonic() + PATIENCE
            if not alive or time.monotonic() > deadline:
                raise TimeoutError(f"column {column} of {self.name} is in the middle of a change")
            alive = self.has_writer(column)  # before the next look, which is then the last one at what a dead one left
            os.sched_yield()

    def recover(self, column: int) -> int:
        """Settle the account of a column whose writer has died: frames that it was writing are lost with it.

        To be called by the reader's process, which looks at ``ready`` then: the writer may have died between handing
        over a frame and telling of it.

        Returns:
            How many frames were lost.

        Raises:
            DetectionError: the writer lives, or the reader is another process.
        """
        if self.leases.is_held_elsewhere(self._reader_lease):
            raise DetectionError(f"{self.name} has its reader in another process, which is to recover column {column}")
        lease = self._writer_lease(column)
        if not self.leases.acquire(lease):
            raise DetectionError(f"column {column} of {self.name} has a writer")
        try:
            account, states = self.account(column), self.states(column)
            for row, state in enumerate(states.tolist()):
                if state in (State.RESERVED, State.WRITING):
                    states[row] = State.FREE
            account[VERSION] += account[VERSION] % 2
            lost = self.counts(column).missing
            account[DROPPED_BY_WRITER + Reason.SOURCE_LOST] += lost
            return lost
        finally:
            self.leases.release(lease)

    def has_writer(self, column: int) -> bool:
        """Return whether a writer that opened the ring elsewhere lives."""
        return self.leases.is_held_elsewhere(self._writer_lease(column))

    def account(self, column: int) -> memoryview:
        """Return the words of a column's record, to be used by the places ``VERSION`` ... ``DROPPED_BY_READER``."""
        start = PAGE + COLUMN_BYTES * column
        return memoryview(self._map)[start : start + COLUMN_BYTES].cast("Q")

    def states(self, column: int) -> memoryview:
        """Return the state words of a column by row."""
        return self._states()[column :: self.columns]

    def _states(self) -> memoryview:
        """Return all state words, by the numbers of their slots."""
        start, end = self._record(0, 0), self._record(self.rows, 0)
        return memoryview(self._map)[start:end].cast("I")[:: SLOT_BYTES // 4]

    def _record(self, row: int, column: int) -> int:
        """Return where a slot's record begins in the file, in bytes."""
        return PAGE + COLUMN_BYTES * self.columns + SLOT_BYTES * self.index(row, column)

    def _capture(self, row: int, column: int) -> Capture:
        return Capture(column, row, *_FIELDS.unpack_from(self._map, self._record(row, column) + _TIMES_AT))

    def _writer_lease(self, column: int) -> int:
        return self.rows * self.columns + 2 + column

    @property
    def _reader_lease(self) -> int:
        return self.rows * self.columns + 1

    def close(self) -> None:
        """Give back all leases, and remove the file if this process made it; closing twice is fine.

        The memory itself is unmapped with the last array that lies in it.
        """
        if self.leases.file < 0:
            return
        if self._owner and _is_at(self.path, self.leases.file):
            self.path.unlink()
        self.leases.close()
        del self._bytes, self._map


class Writer:
    """Puts the frames of one camera into a column.

    Attributes:
        rows: slots of the column.
    """

    def __init__(self, ring: Ring, column: int, ready: int, freed: int | None = None, row: int = 0) -> None:
        """Take the column.

        Args:
            ring: the ring, opened by this writer alone: two users of one open file would share its leases.
            column: the column.
            ready: eventfd that tells the reader of a frame.
            freed: eventfd that tells of freed slots, to wait for one when the ring is full; None overwrites the oldest
                frame that nobody has taken.
            row: preferred row of the next frame; where it is used the next ones are tried. Cameras that begin with the
                same row at the same moment fill rows together.

        Raises:
            DetectionError: the column has a writer, or one that died has not been recovered.
        """
        self._ring, self._column, self._ready, self._freed = ring, column, ready, freed
        self._account, self._states, self._map = ring.account(column), ring.states(column), ring._map
        self._change, self._row = _Change(self._account), row % ring.rows
        if not ring.leases.acquire(ring._writer_lease(column)):
            raise DetectionError(f"column {column} of {ring.name} has a writer already")
        if self._account[VERSION] % 2 or {State.RESERVED, State.WRITING} & set(self._states.tolist()):
            self.close()
            raise DetectionError(f"column {column} of {ring.name} had a writer that died: recover it first")

    def begin(self, monotonic_ns: int, wall_ns: int) -> Capture | None:
        """Give a captured frame its number and a slot to write it to.

        Args:
            monotonic_ns: time of capture on CLOCK_MONOTONIC, in nanoseconds.
            wall_ns: time of capture since 1970, in nanoseconds.

        Returns:
            The frame, for ``pixels``, ``publish`` and ``abandon``; None if it is dropped, since the reader holds all
            slots.
        """
        row = self._lease(State.FREE)
        with self._change:
            if row is None:
                row = self._lease(State.TAKEN)
            if row is None and self._freed is None:
                row = self._overwrite()
            self._row = (self._row + 1) % self._ring.rows
            if row is None:
                self._account[CAPTURED] += 1
                self._account[DROPPED_BY_WRITER + Reason.RING_FULL] += 1
                return None
            return self._number(row, monotonic_ns, wall_ns)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until there is a free slot.

        Args:
            timeout: longest wait in seconds.

        Returns:
            Whether there is one.
        """
        assert self._freed is not None
        deadline = None if timeout is None else time.monotonic() + timeout
        poll = select.poll()
        poll.register(self._freed, select.POLLIN)
        while not self._has_free():
            left = None if deadline is None else 1000 * max(0.0, deadline - time.monotonic())
            if not poll.poll(left):
                return False
            os.eventfd_read(self._freed)
        return True

    def _has_free(self) -> bool:
        """Return whether a slot can be leased: the reader gives the lease back after it has set the state."""
        for row, state in enumerate(self._states.tolist()):
            if state == State.FREE and not self._ring.leases.is_held_elsewhere(self._ring.index(row, self._column)):
                return True
        return False

    @property
    def rows(self) -> int:
        """How many slots the column has."""
        return self._ring.rows

    def slot(self, row: int) -> npt.NDArray[np.uint8]:
        """Return the bytes of a slot of the column, uint8; a driver may write to those that are reserved."""
        return self._ring.slot(row, self._column)

    def reserve(self, overwrite: bool = False) -> int | None:
        """Lease a slot for a frame that a driver will write at some time.

        Args:
            overwrite: take the oldest frame's that nobody has taken, where none is free and ``begin`` would.

        Returns:
            Its row, for ``slot``, ``begin_in`` and ``unreserve``; None if no slot can be had.
        """
        row = self._lease(State.FREE)
        with self._change:
            if row is None:
                row = self._lease(State.TAKEN)
            if row is None and overwrite and self._freed is None:
                row = self._overwrite()
            self._row = (self._row + 1) % self._ring.rows
            if row is not None:
                self._states[row] = State.RESERVED
            return row

    def unreserve(self, row: int) -> None:
        """Give a reserved slot back without a frame."""
        self._check(row, State.RESERVED)
        self._states[row] = State.FREE
        self._let_go(row)

    def begin_in(self, row: int, monotonic_ns: int, wall_ns: int) -> Capture:
        """Give the frame that a driver wrote into a reserved slot its number; arguments as for ``begin``."""
        self._check(row, State.RESERVED)
        with self._change:
            return self._number(row, monotonic_ns, wall_ns)

    def miss(self, reason: Reason, count: int = 1) -> None:
        """Count frames that were captured and never had a slot.

        Args:
            reason: why.
            count: how many.
        """
        with self._change:
            self._account[CAPTURED] += count
            self._account[DROPPED_BY_WRITER + reason] += count

    def pixels(self, capture: Capture) -> npt.NDArray[np.uint8]:
        """Return the bytes of a frame's slot, uint8, writable until the frame is published."""
        return self._ring.slot(capture.row, self._column)

    def publish(self, capture: Capture, nbytes: int, height: int, width: int, pixel_format: int) -> None:
        """Hand a frame that has been written to the reader.

        Args:
            capture: the frame.
            nbytes: its size in bytes.
            height: height of the picture, in pixels.
            width: width of the picture, in pixels.
            pixel_format: number of its pixel format.
        """
        self._check(capture.row, State.WRITING)
        if not 0 <= nbytes <= self._ring.stride:
            raise ValueError(f"a frame of {nbytes} bytes in a slot of {self._ring.stride}")
        record = self._ring._record(capture.row, self._column)
        _SIZES.pack_into(self._map, record + _SIZES_AT, nbytes, height, width, pixel_format)
        self._states[capture.row] = State.READY  # no change of the account: it was in flight before
        self._let_go(capture.row)
        os.eventfd_write(self._ready, 1)

    def abandon(self, capture: Capture, reason: Reason) -> None:
        """Drop a frame that has a slot.

        Args:
            capture: the frame.
            reason: why.
        """
        self._check(capture.row, State.WRITING)
        with self._change:
            self._states[capture.row] = State.FREE
            self._account[DROPPED_BY_WRITER + reason] += 1
        self._let_go(capture.row)

    def _check(self, row: int, state: State) -> None:
        if self._states[row] != state:  # of the writer's own slots nobody else changes the state
            raise ValueError(f"row {row} of column {self._column} is not {state.name.lower()}")

    def _number(self, row: int, monotonic_ns: int, wall_ns: int) -> Capture:
        """Count a frame, and give it its number and a leased slot; within a change."""
        number = self._account[CAPTURED]
        self._account[CAPTURED] = number + 1
        record = self._ring._record(row, self._column)
        _TIMES.pack_into(self._map, record + _TIMES_AT, number, monotonic_ns, wall_ns)
        self._states[row] = State.WRITING
        return Capture(self._column, row, number, monotonic_ns, wall_ns, 0, 0, 0, 0)

    def _lease(self, state: State) -> int | None:
        """Lease the next slot of a state.

        Args:
            state: FREE; or, within a change, TAKEN: slots of a reader that has died. A new reader counts the frames
                that were lost in these when no change is going on, and must not see one with a new lease and the old
                state.
        """
        rows, states = self._ring.rows, self._states.tolist()
        row: int
        for row in (*range(self._row, rows), *range(self._row)):
            if states[row] == state and self._ring.leases.acquire(self._ring.index(row, self._column)):
                return row
        return None

    def _overwrite(self) -> int | None:
        """Lease the slot of the oldest frame that nobody has taken, and count it as dropped; within a change."""
        ready = [row for row, state in enumerate(self._states.tolist()) if state == State.READY]
        for row in sorted(ready, key=lambda row: self._ring._capture(row, self._column).number):
            if self._ring.leases.acquire(self._ring.index(row, self._column)):
                if self._states[row] == State.READY:  # else it was taken meanwhile, and is done or its reader dead
                    self._states[row] = State.RESERVED  # before it gets another number
                    self._account[DROPPED_BY_WRITER + Reason.RING_FULL] += 1
                return row
        return None

    def _let_go(self, row: int) -> None:
        self._ring.leases.release(self._ring.index(row, self._column))

    def close(self) -> None:
        """Give back the column, and what is reserved in it; frames that were begun and not published are lost."""
        for row, state in enumerate(self._states.tolist()) if self._ring.leases.file >= 0 else ():
            if not self._ring.leases.holds(self._ring.index(row, self._column)):
                continue
            if state == State.RESERVED:
                self.unreserve(row)
            elif state == State.WRITING:
                self.abandon(self._ring._capture(row, self._column), Reason.SOURCE_LOST)
        self._ring.leases.release(self._ring._writer_lease(self._column))


class _Change:
    """Makes the version odd while it lasts, so that nobody takes a change that is half done for an account."""

    def __init__(self, account: memoryview) -> None:
        self._account = account

    def __enter__(self) -> None:
        self._account[VERSION] += 1

    def __exit__(self, *_: object) -> None:
        self._account[VERSION] += 1


class Reader:
    """Takes frames out of a ring; the only one that does.

    Attributes:
        ring: the ring.
        limit: how many frames of a column may be taken at a time: two slots are always left to the writer.
    """

    def __init__(self, ring: Ring, freed: Mapping[int, int] | None = None) -> None:
        """Become the reader; what one that died had taken is counted as lost with it.

        Args:
            ring: the ring, opened by this reader alone or made by it.
            freed: eventfds by column, which tell writers of freed slots.

        Raises:
            DetectionError: the ring has a reader.
        """
        self.ring, self._freed = ring, freed or {}
        self.limit, self._taken = max(1, ring.rows - 2), [set[int]() for _ in range(ring.columns)]
        self._states, self._accounts = ring._states(), [ring.account(column) for column in range(ring.columns)]
        if not ring.leases.acquire(ring._reader_lease):
            raise DetectionError(f"{ring.name} has a reader already")
        try:
            for column in range(ring.columns):
                self._recover(column)
        except BaseException:
            ring.leases.release(ring._reader_lease)
            raise
        for file in self._freed.values():
            os.eventfd_write(file, 1)  # writers may wait for what the one that died has freed or not told of

    def _recover(self, column: int) -> None:
        """Free what a reader that died had taken, and count it."""
        ring, account, states = self.ring, self.ring.account(column), self.ring.states(column)
        for row, state in enumerate(states.tolist()):
            lease = ring.index(row, column)
            if state == State.TAKEN and ring.leases.acquire(lease):  # else a writer has it again already
                if states[row] == State.TAKEN:
                    states[row] = State.FREE
                ring.leases.release(lease)
        try:
            account[DROPPED_BY_READER + Reason.CONSUMER_LOST] += ring.counts(column).missing
        except TimeoutError:
            if ring.has_writer(column):
                raise
            # The writer has died too, in the middle of a change: what is missing is counted by ``recover``.

    def ready(self) -> list[Capture]:
        """Return the frames that wait, by column and number; a writer may still take their slots back."""
        ring = self.ring
        ready = [index for index, state in enumerate(self._states.tolist()) if state == State.READY]
        found = [ring._capture(*divmod(index, ring.columns)) for index in ready]
        return sorted(found, key=lambda capture: (capture.column, capture.number))

    def take(self, capture: Capture) -> bool:
        """Take a frame; its slot stays as it is until ``release``.

        Args:
            capture: what ``ready`` returned.

        Returns:
            Whether it was still there, and the reader may take more of its column.
        """
        ring, (column, row) = self.ring, capture[:2]
        index = ring.index(row, column)
        if len(self._taken[column]) >= self.limit or self._states[index] != State.READY:
            return False
        if not ring.leases.acquire(index):
            return False
        # All of it is compared: the writer may have put another frame there, also while ``ready`` read the record.
        if self._states[index] != State.READY or ring._capture(row, column) != capture:
            ring.leases.release(index)
            return False
        self._states[index] = State.TAKEN
        self._taken[column].add(row)
        return True

    def release(self, capture: Capture, reason: Reason | None = None) -> None:
        """Give a taken frame's slot back, and count the frame.

        Args:
            capture: the frame.
            reason: why it was not answered; None if it was.
        """
        ring, (column, row) = self.ring, capture[:2]
        if row not in self._taken[column]:
            raise ValueError(f"the frame in row {row} of column {column} is not taken")
        index, account = ring.index(row, column), self._accounts[column]
        self._taken[column].discard(row)
        self._states[index] = State.FREE
        account[ANSWERED if reason is None else DROPPED_BY_READER + reason] += 1
        ring.leases.release(index)
        if column in self._freed:
            os.eventfd_write(self._freed[column], 1)

    def close(self) -> None:
        """Stop being the reader; frames that are still taken are lost."""
        if self.ring.leases.file < 0:
            return
        for column, rows in enumerate(self._taken):
            for row in list(rows):
                self.release(self.ring._capture(row, column), Reason.CONSUMER_LOST)
        self.ring.leases.release(self.ring._reader_lease)


def clear_leftovers() -> list[Path]:
    """Remove this user's rings whose owners have died, and return their paths."""
    removed = []
    for path in FOLDER.glob(f"{PREFIX}{os.getuid()}-*"):
        try:
            if remove_leftover(path):
                removed.append(path)
        except DetectionError:  # in use, or somebody else's
            continue
    return removed


def remove_leftover(path: Path) -> bool:
    """Remove a ring whose owner has died.

    Args:
        path: path of the ring; there may be none.

    Returns:
        Whether there was one.

    Raises:
        DetectionError: it belongs to somebody else, or is in use.
    """
    leases = _open(path)
    if leases is None:
        return False
    try:
        # While one process has the owner's lease for the time of the removal, no other may take it for the owner.
        leases.acquire(REMOVAL_LEASE, wait=True)
        if not leases.acquire(OWNER_LEASE):
            raise DetectionError(_in_use(path))
        if _is_at(path, leases.file):  # else somebody has removed it meanwhile, and perhaps made another
            path.unlink()
        return True
    finally:
        leases.close()


def _in_use(path: Path) -> str:
    return f"{path} is in use: a line of this name runs already; give this one another name"


def _open(path: Path) -> Leases | None:
    """Open a ring's file, if there is one.

    Raises:
        DetectionError: it is no file of this user.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DetectionError(
            f"cannot open the ring {path}: {error.strerror}; where it belongs to another user, use another name"
        ) from None
    status = os.fstat(file)
    if status.st_uid != os.getuid() or not stat.S_ISREG(status.st_mode):
        os.close(file)
        what = "is no file" if status.st_uid == os.getuid() else f"belongs to another user (number {status.st_uid})"
        raise DetectionError(f"{path} {what}: remove it, or use another name")
    return Leases(file)


def _nameless() -> Leases:
    """Return a new file that has no name yet: what dies while it makes a ring leaves nothing behind."""
    if not hasattr(os, "O_TMPFILE"):
        raise DetectionError(f"a ring needs Linux with {FOLDER}, and this is {sys.platform}")
    try:
        return Leases(os.open(FOLDER, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise DetectionError(f"cannot make a ring in {FOLDER}: {error.strerror}") from None


def _give_name(file: int, path: Path) -> None:
    try:
        # With src_dir_fd, of which an absolute path makes no use, Python calls linkat(2), which follows links.
        os.link(f"/proc/self/fd/{file}", path, src_dir_fd=file, follow_symlinks=True)
    except FileExistsError:
        raise DetectionError(_in_use(path)) from None
    except OSError as error:
        raise DetectionError(f"cannot make the ring {path}: {error.strerror}") from None


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(file))
    except FileNotFoundError:
        return False


def _allocate(file: int, size: int, huge_pages: bool) -> None:
    """Give a file all of its memory now, so that a full /dev/shm is an error here and no SIGBUS later."""
    try:
        if huge_pages:
            os.ftruncate(file, size)
            with mmap.mmap(file, size) as view:
                try:
                    view.madvise(mmap.MADV_HUGEPAGE)
                    view.madvise(POPULATE_WRITE)
                except OSError as error:
                    # Kernels without one of the two; and no room (EFAULT), which the next call says better.
                    if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EFAULT):
                        raise
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        raise DetectionError(
            f"no room for a ring of {size / 1e6:.0f} MB in {FOLDER}: {error.strerror}; fewer slots, or a larger "
            "shared memory (Docker: shm_size)"
        ) from None


def huge_bytes(ring: Ring) -> int:
    """Return how many bytes of a ring this process has mapped in huge pages, as /proc/self/smaps says."""
    status = os.fstat(ring.leases.file)
    mapped = [f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}", str(status.st_ino)]
    found, here = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):  # address, rights, offset, device, inode, name
            here = words[3:5] == mapped
        elif here and words[0] == "ShmemPmdMapped:":
            found += int(words[1]) * 1024
    return found
