"""The two ways from a V4L2 driver's queue into the ring: the driver writes into its slots, or the frames are copied."""

from __future__ import annotations

import errno
import mmap
from abc import ABC, abstractmethod
from ctypes import c_int32
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.memory.ring import Reason
from triton_yolo.clients.stream.sources import v4l2_api as api
from triton_yolo.clients.stream.sources.base import Outlet

QUEUED = 3  # buffers: the driver fills one, one waits, one is on its way
REFUSALS = (errno.EINVAL, errno.EFAULT, errno.ENOMEM)  # of memory that a driver cannot write to


@dataclass(frozen=True)
class Layout:
    """How a frame lies in a driver's buffer.

    Attributes:
        rows: lines of the frame, those of all planes; 0 where it is encoded.
        line: bytes of a line; 0 where it is encoded.
        stride: bytes from one line to the next.
        capacity: size that a buffer must have, in bytes.
    """

    rows: int
    line: int
    stride: int
    capacity: int

    @property
    def padded(self) -> bool:
        """Whether there are bytes between the lines that the frame does not have."""
        return self.stride != self.line

    @property
    def nbytes(self) -> int:
        """Size of a frame without what lies between its lines, in bytes; 0 where it is encoded."""
        return self.rows * self.line

    def is_whole(self, used: int) -> bool:
        """Return whether a buffer of which so many bytes are used has a frame in it."""
        return used >= max(1, self.stride * (self.rows - 1) + self.line)

    def unpad(self, buffer: npt.NDArray[np.uint8], slot: npt.NDArray[np.uint8], used: int) -> int:
        """Copy a frame without what lies between its lines, and return its size in bytes.

        Args:
            buffer: where it lies, uint8.
            slot: where it goes, uint8.
            used: how many bytes of the buffer are used.
        """
        nbytes = self.nbytes or used
        if not self.padded or not self.rows:
            slot[:nbytes] = buffer[:nbytes]
            return nbytes
        lines = np.lib.stride_tricks.as_strided(buffer, (self.rows, self.line), (self.stride, 1))
        slot[:nbytes].reshape(self.rows, self.line)[:] = lines
        return nbytes


class Queue(ABC):
    """The buffers of a device.

    Attributes:
        memory: whose memory they are.
    """

    memory: int

    def __init__(self, file: int, layout: Layout, outlet: Outlet, wanted: int) -> None:
        """Take over; ``fill`` then hands the first buffers to the driver.

        Args:
            file: descriptor of the device.
            layout: how frames lie in the buffers.
            outlet: where they go.
            wanted: how many buffers the driver is to have.
        """
        self._file, self._layout, self._outlet, self._wanted = file, layout, outlet, wanted
        self._requested = False

    @abstractmethod
    def fill(self) -> bool:
        """Hand the first buffers to the driver, and return whether it takes such memory.

        Raises:
            OSError: the driver refuses for another reason.
        """

    @abstractmethod
    def deliver(self, buffer: api.Buffer, captured: tuple[int, int]) -> None:
        """Hand on a frame, and give the driver a buffer in its place.

        Args:
            buffer: what ``next`` returned.
            captured: times of capture on CLOCK_MONOTONIC and since 1970, in nanoseconds.
        """

    @abstractmethod
    def give_back(self, buffer: api.Buffer) -> None:
        """Let the driver have a buffer again whose content is of no use."""

    def next(self) -> api.Buffer | None:
        """Return a buffer that the driver is done with; None if there is none yet."""
        empty = api.Buffer(type=api.VIDEO_CAPTURE, memory=self.memory)
        return api.tried(self._file, api.DQBUF, empty, (errno.EAGAIN,))

    def empty(self) -> None:
        """Take all buffers away from the driver, which stops."""
        if self._requested:
            api.call(self._file, api.STREAMOFF, c_int32(api.VIDEO_CAPTURE))
            self._request(0)

    def _request(self, count: int) -> int:
        """Ask for so many buffers, and return how many the driver makes of that; at least as many as it needs."""
        wanted = api.RequestBuffers(count=count, type=api.VIDEO_CAPTURE, memory=self.memory)
        got = int(api.call(self._file, api.REQBUFS, wanted).count)
        self._requested = got > 0
        return got


class SlotQueue(Queue):
    """The ring's own slots: a frame is where it has to be when the driver has written it.

    A slot keeps its place in the driver's queue, so that its pages are pinned once and not for each frame. When the
    process is killed the kernel takes the slots back from the driver before anybody who waits for the process's end
    learns of it: slots that are recovered after that are written to by nobody.
    """

    memory = api.USERPTR

    def fill(self) -> bool:
        """See Queue."""
        writer = self._outlet.writer
        self._rows: dict[int, int] = {}  # by the index of the buffer: those that the driver has
        if (self._layout.padded and self._layout.rows) or self._layout.capacity > writer.slot(0).size:
            return False
        try:
            needed = self._request(1)
            # Of the ring's slots one is left for the reader to hold, and one for the frame that it takes next.
            self._depth = max(needed, min(self._wanted, writer.rows - 2))
            if self._depth > writer.rows - 2:
                return False
            self._count = self._request(min(writer.rows, api.MAX_FRAME))
            self._top_up(overwrite=True)
            return len(self._rows) >= needed
        except OSError as error:
            if error.errno in REFUSALS:
                return False
            raise

    def deliver(self, buffer: api.Buffer, captured: tuple[int, int]) -> None:
        """See Queue.

        Where the reader holds all slots the driver gets this one again, and the frame is dropped: a driver without a
        buffer would drop the next ones, and later.
        """
        writer, row = self._outlet.writer, self._rows.pop(buffer.index)
        # Before the frame can be taken, and so that it is not itself the oldest that is overwritten.
        instead = writer.reserve(overwrite=True)
        if instead is None:
            writer.miss(Reason.RING_FULL)
            self._queue(row)
            return
        self._outlet.publish(writer.begin_in(row, *captured), self._layout.nbytes or buffer.bytesused)
        self._queue(instead)
        self._top_up(overwrite=False)

    def give_back(self, buffer: api.Buffer) -> None:
        """See Queue."""
        self._queue(self._rows.pop(buffer.index))

    def empty(self) -> None:
        """See Queue."""
        super().empty()
        while self._rows:
            self._outlet.writer.unreserve(self._rows.popitem()[1])

    def _top_up(self, overwrite: bool) -> None:
        while len(self._rows) < self._depth:
            row = self._outlet.writer.reserve(overwrite)
            if row is None:
                return
            self._queue(row)

    def _queue(self, row: int) -> None:
        index = row if row not in self._rows and row < self._count else self._free_index()
        self._rows[index] = row
        slot = self._outlet.writer.slot(row)
        buffer = api.Buffer(
            index=index, type=api.VIDEO_CAPTURE, memory=self.memory, length=self._layout.capacity, field=api.FIELD_NONE
        )
        buffer.m.userptr = slot.ctypes.data
        api.call(self._file, api.QBUF, buffer)

    def _free_index(self) -> int:
        return next(index for index in range(self._count) if index not in self._rows)


class MappedQueue(Queue):
    """The driver's own buffers, mapped: a frame is copied into the ring once."""

    memory = api.MMAP

    def fill(self) -> bool:
        """See Queue."""
        self._maps: list[mmap.mmap] = []
        for index in range(self._request(self._wanted)):
            buffer = api.Buffer(index=index, type=api.VIDEO_CAPTURE, memory=self.memory)
            api.call(self._file, api.QUERYBUF, buffer)
            self._maps.append(mmap.mmap(self._file, buffer.length, offset=buffer.m.offset))
            api.call(self._file, api.QBUF, buffer)
        return bool(self._maps)

    def deliver(self, buffer: api.Buffer, captured: tuple[int, int]) -> None:
        """See Queue."""
        content = np.frombuffer(self._maps[buffer.index], np.uint8)
        self._outlet.write(lambda slot: self._layout.unpad(content, slot, buffer.bytesused), captured=captured)
        self.give_back(buffer)

    def give_back(self, buffer: api.Buffer) -> None:
        """See Queue."""
        api.call(self._file, api.QBUF, buffer)

    def empty(self) -> None:
        """See Queue."""
        for one in self._maps:
            one.close()
        self._maps.clear()
        super().empty()
