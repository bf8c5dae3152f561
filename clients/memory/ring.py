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
written after the frame; on processors that reorder stores the system call keeps them in order.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import select
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.memory import leases
from triton_yolo.clients.request import SharedTensor

FOLDER = Path("/dev/shm")  # where Linux keeps POSIX shared memory (shm_overview(7))
PREFIX = "triton-yolo-ring-"  # of names in /dev/shm and on the server; the user's number and the line's name follow
MAGIC = 0x3130474E49525954  # "TYRING01"
PAGE, HUGE_PAGE = mmap.PAGESIZE, 2 * 1024 * 1024
POPULATE_WRITE = 23  # MADV_POPULATE_WRITE (madvise(2)), Linux 5.14: an error where there is no room, and no SIGBUS


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
_COLUMN = np.dtype(
    {
        "names": [
            *("version", "captured", "dropped_by_writer"),  # the writer's; the version is odd while it changes them
            *("answered", "dropped_by_reader"),  # the reader's
        ],
        "formats": ["u8", "u8", ("u8", 8), "u8", ("u8", 8)],
        "offsets": [0, 8, 16, 128, 136],
        "itemsize": 256,
    }
)
_SLOT = np.dtype(
    {
        "names": ["state", "format", "number", "monotonic_ns", "wall_ns", "nbytes", "height", "width"],
        "formats": ["u4", "u4", "u8", "u8", "u8", "u8", "u4", "u4"],
        "offsets": [0, 4, 8, 16, 24, 32, 40, 44],
        "itemsize": 64,
    }
)


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

    def __init__(self, path: Path, file: int, owner: bool) -> None:
        """Map an open file; use ``create`` or ``open``."""
        self.path, self.name, self.file, self._owner = path, path.name, file, owner
        self.nbytes = os.fstat(file).st_size
        self._map = mmap.mmap(file, self.nbytes)
        header = np.frombuffer(self._map, _HEADER, 1)[0]
        self.rows, self.columns, self.stride = (int(header[name]) for name in ("rows", "columns", "stride"))
        self._data = int(header["data"])
        self.column_records = np.frombuffer(self._map, _COLUMN, self.columns, PAGE)
        records = np.frombuffer(self._map, _SLOT, self.rows * self.columns, PAGE + _COLUMN.itemsize * self.columns)
        self.slot_records = records.reshape(self.rows, self.columns)
        self._bytes = np.frombuffer(self._map, np.uint8)

    @classmethod
    def create(cls, name: str, rows: int, columns: int, slot_bytes: int, huge_pages: bool = False) -> Ring:
        """Make a ring, in place of one whose owner has died.

        Args:
            name: name of the line, of letters, digits, ``.``, ``_`` and ``-``.
            rows: slots of a column.
            columns: slots of a row.
            slot_bytes: size of the largest frame in bytes; slots begin at pages.
            huge_pages: ask for pages of 2 MiB, which the system gives where it allows them.

        Raises:
            DetectionError: the name cannot be used, belongs to somebody else or to a ring in use, or there is no room.
        """
        if not re.fullmatch(r"[\w.-]{1,100}", name):
            raise DetectionError(f"{name!r} is no name of a line: use letters, digits, '.', '_' and '-', at most 100")
        if min(rows, columns, slot_bytes) < 1:
            raise DetectionError(
                f"a ring needs rows, columns and bytes of 1 or more; got {rows}, {columns}, {slot_bytes}"
            )
        path = FOLDER / f"{PREFIX}{os.getuid()}-{name}"
        file = _owned(path)
        stride = -(-slot_bytes // PAGE) * PAGE
        align = HUGE_PAGE if huge_pages else PAGE
        records = PAGE + _COLUMN.itemsize * columns + _SLOT.itemsize * rows * columns
        data = -(-records // align) * align
        size = data + rows * columns * stride
        try:
            _allocate(file, size, huge_pages)
        except OSError as error:
            path.unlink()
            os.close(file)
            raise DetectionError(
                f"no room for a ring of {size / 1e6:.0f} MB in {FOLDER}: {error.strerror}; fewer slots, or a larger "
                "shared memory (Docker: shm_size)"
            ) from None
        os.pwrite(file, np.array([(MAGIC, rows, columns, stride, data)], _HEADER).tobytes(), 0)
        return cls(path, file, owner=True)

    @classmethod
    def open(cls, path: Path) -> Ring:
        """Open a ring that another process made.

        Raises:
            DetectionError: there is none, or it is another user's.
        """
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise DetectionError(f"cannot open the ring {path}: {error.strerror}") from None
        _check_owner(path, file)
        if os.pread(file, 8, 0) != MAGIC.to_bytes(8, "little"):
            os.close(file)
            raise DetectionError(f"{path} is no ring of this version")
        return cls(path, file, owner=False)

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
            TimeoutError: the writer was killed in the middle of a change, and the column has not been recovered.
        """
        record, slots = self.column_records[column], self.slot_records[:, column]
        for _ in range(10_000):
            version = int(record["version"])
            captured, by_writer = int(record["captured"]), record["dropped_by_writer"].copy()
            states = slots["state"].copy()
            if version % 2 == 0 and int(record["version"]) == version:
                break
            os.sched_yield()
        else:
            raise TimeoutError(f"column {column} of {self.name} is in the middle of a change")
        dropped = by_writer + record["dropped_by_reader"]
        in_flight = int(np.isin(states, (State.WRITING, State.READY, State.TAKEN)).sum())
        reasons = {reason: int(dropped[reason]) for reason in Reason if dropped[reason]}
        return Counts(captured, int(record["answered"]), reasons, in_flight)

    def recover(self, column: int) -> int:
        """Settle the account of a column whose writer has died: frames that it was writing are lost with it.

        To be called by the reader's process.

        Returns:
            How many frames were lost.

        Raises:
            DetectionError: the writer lives.
        """
        lease = self._writer_lease(column)
        if not leases.acquire(self.file, lease):
            raise DetectionError(f"column {column} of {self.name} has a writer")
        try:
            record, slots = self.column_records[column], self.slot_records[:, column]
            slots["state"][np.isin(slots["state"], (State.RESERVED, State.WRITING))] = State.FREE
            record["version"] += record["version"] % 2
            lost = self.counts(column).missing
            record["dropped_by_writer"][Reason.SOURCE_LOST] += lost
            return lost
        finally:
            leases.release(self.file, lease)

    def _writer_lease(self, column: int) -> int:
        return self.rows * self.columns + 2 + column

    @property
    def _reader_lease(self) -> int:
        return self.rows * self.columns + 1

    def close(self) -> None:
        """Unmap the file, and remove it if this process made it; closing twice is fine."""
        if self.file < 0:
            return
        if self._owner:
            self.path.unlink(missing_ok=True)
        os.close(self.file)
        self.file = -1
        del self.column_records, self.slot_records, self._bytes  # the map itself ends with the last view of it


class Writer:
    """Puts the frames of one camera into a column."""

    def __init__(self, ring: Ring, column: int, ready: int, freed: int | None = None, row: int = 0) -> None:
        """Take the column.

        Args:
            ring: the ring, opened by this writer alone.
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
        self._record, self._slots = ring.column_records[column], ring.slot_records[:, column]
        if not leases.acquire(ring.file, ring._writer_lease(column)):
            raise DetectionError(f"column {column} of {ring.name} has a writer already")
        if np.isin(self._slots["state"], (State.RESERVED, State.WRITING)).any():
            raise DetectionError(f"column {column} of {ring.name} had a writer that died: recover it first")
        self._row, self._held = row % ring.rows, set[int]()

    def begin(self, monotonic_ns: int, wall_ns: int) -> Capture | None:
        """Give a captured frame its number and a slot to write it to.

        Args:
            monotonic_ns: time of capture on CLOCK_MONOTONIC, in nanoseconds.
            wall_ns: time of capture since 1970, in nanoseconds.

        Returns:
            The frame, for ``pixels``, ``publish`` and ``abandon``; None if it is dropped, since the reader holds all
            slots.
        """
        with self._change():
            number = int(self._record["captured"])
            self._record["captured"] += 1
            row = self._lease()
            if row is None:
                self._record["dropped_by_writer"][Reason.RING_FULL] += 1
                return None
            return self._number(row, number, monotonic_ns, wall_ns)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until there is a free slot.

        Args:
            timeout: longest wait in seconds.

        Returns:
            Whether there is one.
        """
        assert self._freed is not None
        while not (self._slots["state"] == State.FREE).any():
            if not select.select([self._freed], [], [], timeout)[0]:
                return False
            os.eventfd_read(self._freed)
        return True

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
        with self._change():
            row = self._lease(overwrite)
            if row is not None:
                self._slots[row]["state"] = State.RESERVED
            return row

    def unreserve(self, row: int) -> None:
        """Give a reserved slot back without a frame."""
        with self._change():
            self._slots[row]["state"] = State.FREE
        self._let_go(row)

    def begin_in(self, row: int, monotonic_ns: int, wall_ns: int) -> Capture:
        """Give the frame that a driver wrote into a reserved slot its number; arguments as for ``begin``."""
        with self._change():
            number = int(self._record["captured"])
            self._record["captured"] += 1
            return self._number(row, number, monotonic_ns, wall_ns)

    def miss(self, reason: Reason, count: int = 1) -> None:
        """Count frames that were captured and never had a slot.

        Args:
            reason: why.
            count: how many.
        """
        with self._change():
            self._record["captured"] += count
            self._record["dropped_by_writer"][reason] += count

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
        slot = self._slots[capture.row]
        slot["nbytes"], slot["height"], slot["width"], slot["format"] = nbytes, height, width, pixel_format
        with self._change():
            slot["state"] = State.READY
        self._let_go(capture.row)
        os.eventfd_write(self._ready, 1)

    def abandon(self, capture: Capture, reason: Reason) -> None:
        """Drop a frame that has a slot.

        Args:
            capture: the frame.
            reason: why.
        """
        with self._change():
            self._slots[capture.row]["state"] = State.FREE
            self._record["dropped_by_writer"][reason] += 1
        self._let_go(capture.row)

    def _number(self, row: int, number: int, monotonic_ns: int, wall_ns: int) -> Capture:
        slot = self._slots[row]
        slot["number"], slot["monotonic_ns"], slot["wall_ns"] = number, monotonic_ns, wall_ns
        slot["state"] = State.WRITING
        return Capture(self._column, row, number, monotonic_ns, wall_ns, 0, 0, 0, 0)

    def _lease(self, overwrite: bool = True) -> int | None:
        """Lease a slot that is free or whose reader has died, or else the oldest that is ready."""
        order = [(self._row + step) % self._ring.rows for step in range(self._ring.rows)]
        self._row = (self._row + 1) % self._ring.rows
        for row in order:
            if self._slots[row]["state"] != State.READY and row not in self._held and self._take(row):
                if self._slots[row]["state"] != State.READY:
                    return row
                self._let_go(row)
        ready = sorted((int(self._slots[row]["number"]), row) for row in order if row not in self._held)
        for _, row in ready if overwrite and self._freed is None else ():
            if self._slots[row]["state"] == State.READY and self._take(row):
                if self._slots[row]["state"] == State.READY:
                    self._slots[row]["state"] = State.RESERVED
                    self._record["dropped_by_writer"][Reason.RING_FULL] += 1
                return row
        return None

    def _take(self, row: int) -> bool:
        if not leases.acquire(self._ring.file, self._ring.index(row, self._column)):
            return False
        self._held.add(row)
        return True

    def _let_go(self, row: int) -> None:
        self._held.discard(row)
        leases.release(self._ring.file, self._ring.index(row, self._column))

    @contextmanager
    def _change(self) -> Iterator[None]:
        self._record["version"] += 1
        try:
            yield
        finally:
            self._record["version"] += 1

    def close(self) -> None:
        """Give back what is reserved, and the column."""
        for row in list(self._held):
            if self._slots[row]["state"] == State.RESERVED:
                self.unreserve(row)
        leases.release(self._ring.file, self._ring._writer_lease(self._column))


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
        self.limit, self._borrowed = max(1, ring.rows - 2), [0] * ring.columns
        if not leases.acquire(ring.file, ring._reader_lease):
            raise DetectionError(f"{ring.name} has a reader already")
        for column in range(ring.columns):
            self._recover(column)

    def _recover(self, column: int) -> None:
        """Free what a reader that died had taken, and count it."""
        ring, record, slots = self.ring, self.ring.column_records[column], self.ring.slot_records[:, column]
        for row in np.flatnonzero(slots["state"] == State.TAKEN):
            lease = ring.index(int(row), column)
            if leases.acquire(ring.file, lease):  # else a writer has it again already
                if slots[row]["state"] == State.TAKEN:
                    slots[row]["state"] = State.FREE
                leases.release(ring.file, lease)
        if not leases.is_held_elsewhere(ring.file, ring._writer_lease(column)) and record["version"] % 2:
            return  # the writer has died too, in the middle of a change: what is missing is counted by ``recover``
        record["dropped_by_reader"][Reason.CONSUMER_LOST] += ring.counts(column).missing

    def ready(self) -> list[Capture]:
        """Return the frames that wait, by column and number; a writer may still take their slots back."""
        slots = self.ring.slot_records
        rows, columns = np.nonzero(slots["state"] == State.READY)
        found = [self._capture(int(row), int(column)) for row, column in zip(rows, columns, strict=True)]
        return sorted(found, key=lambda capture: (capture.column, capture.number))

    def take(self, capture: Capture) -> bool:
        """Take a frame; its slot stays as it is until ``release``.

        Args:
            capture: what ``ready`` returned.

        Returns:
            Whether it was still there, and the reader may take more of its column.
        """
        ring, (column, row) = self.ring, capture[:2]
        lease = ring.index(row, column)
        if self._borrowed[column] >= self.limit or not leases.acquire(ring.file, lease):
            return False
        slot = ring.slot_records[row, column]
        if slot["state"] != State.READY or slot["number"] != capture.number:
            leases.release(ring.file, lease)
            return False
        slot["state"] = State.TAKEN
        self._borrowed[column] += 1
        return True

    def release(self, capture: Capture, reason: Reason | None = None) -> None:
        """Give a taken frame's slot back, and count the frame.

        Args:
            capture: the frame.
            reason: why it was not answered; None if it was.
        """
        ring, (column, row) = self.ring, capture[:2]
        record = ring.column_records[column]
        ring.slot_records[row, column]["state"] = State.FREE
        if reason is None:
            record["answered"] += 1
        else:
            record["dropped_by_reader"][reason] += 1
        leases.release(ring.file, ring.index(row, column))
        self._borrowed[column] -= 1
        if column in self._freed:
            os.eventfd_write(self._freed[column], 1)

    def _capture(self, row: int, column: int) -> Capture:
        slot = self.ring.slot_records[row, column]
        fields = ("number", "monotonic_ns", "wall_ns", "nbytes", "height", "width", "format")
        return Capture(column, row, *(int(slot[name]) for name in fields))

    def close(self) -> None:
        """Stop being the reader."""
        leases.release(self.ring.file, self.ring._reader_lease)


def clear_leftovers() -> list[Path]:
    """Remove this user's rings whose owners have died, and return their paths."""
    removed = []
    for path in FOLDER.glob(f"{PREFIX}{os.getuid()}-*"):
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # gone meanwhile, or somebody else's
        try:
            if os.fstat(file).st_uid == os.getuid() and leases.acquire(file, OWNER_LEASE):
                path.unlink(missing_ok=True)
                removed.append(path)
        finally:
            os.close(file)
    return removed


OWNER_LEASE = 1 << 20  # number of the lease of whoever made the file; behind those of any slot


def _owned(path: Path) -> int:
    """Return a new file of this name that this process owns."""
    for _ in range(100):
        try:
            file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise DetectionError(f"cannot make the ring {path}: {error.strerror}") from None
        _check_owner(path, file)
        if not leases.acquire(file, OWNER_LEASE):
            os.close(file)
            raise DetectionError(f"{path} is in use: a line of this name runs already; give this one another name")
        if os.fstat(file).st_size:  # of an owner that has died
            path.unlink(missing_ok=True)
        elif _is_at(path, file):
            return file
        os.close(file)
    raise DetectionError(f"cannot make the ring {path}: other processes keep removing it")


def _check_owner(path: Path, file: int) -> None:
    status = os.fstat(file)
    if status.st_uid != os.getuid() or not stat.S_ISREG(status.st_mode):
        os.close(file)
        raise DetectionError(f"{path} belongs to another user (number {status.st_uid}): remove it, or use another name")


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(file))
    except FileNotFoundError:
        return False


def _allocate(file: int, size: int, huge_pages: bool) -> None:
    """Give a file all of its memory now, so that a full /dev/shm is an error here and no SIGBUS later."""
    if huge_pages:
        os.ftruncate(file, size)
        with mmap.mmap(file, size) as view:
            try:
                view.madvise(mmap.MADV_HUGEPAGE)
                view.madvise(POPULATE_WRITE)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS):  # kernels without one of the two
                    raise
    os.posix_fallocate(file, 0, size)


def huge_bytes(ring: Ring) -> int:
    """Return how many bytes of a ring lie in huge pages, as /proc/self/smaps says."""
    found, here = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split()[0]
        if not first.endswith(":"):
            here = line.endswith(str(ring.path))
        elif here and first == "ShmemPmdMapped:":
            found += int(line.split()[1]) * 1024
    return found
