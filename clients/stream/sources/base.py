"""What a source of frames is: a camera, a file, or something that draws; each kind is a subclass in its own file."""

from __future__ import annotations

import select
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.memory.ring import Capture, Reason, Writer
from triton_yolo.clients.stream.errors import SourceError
from triton_yolo.clients.stream.frames import FORMATS, FrameFormat


class Outlet:
    """Where a source puts its frames: a column of the ring, and the word that it is to stop.

    Attributes:
        writer: the column; sources that own their buffers reserve slots there.
        published: frames that were handed over.
        copied: how often frames were copied on the host on their way from where they arrived to their slots.
    """

    def __init__(self, writer: Writer, frame_format: FrameFormat, stop: int, waits: bool) -> None:
        """Take over.

        Args:
            writer: the column.
            frame_format: what the source said that it delivers.
            stop: descriptor that can be read when the source is to stop.
            waits: whether the source waits for a free slot, and no frame is dropped.
        """
        self.writer, self._format, self._stop, self._waits = writer, frame_format, stop, waits
        self.published = self.copied = 0

    @property
    def stopped(self) -> bool:
        """Whether the source is to stop."""
        return self.pause(0)

    def pause(self, seconds: float) -> bool:
        """Wait so long, or until the source is to stop, and return whether it is."""
        return bool(select.select([self._stop], [], [], max(0.0, seconds))[0])

    def wait(self, file: int, events: int) -> int:
        """Wait until something happens to a descriptor, or until the source is to stop.

        Args:
            file: the descriptor.
            events: what is waited for: flags of poll(2). POLLERR and POLLHUP always are.

        Returns:
            Flags of what has happened; 0 if the source is to stop.
        """
        poll = select.poll()
        poll.register(file, events)
        poll.register(self._stop, select.POLLIN)
        happened = dict(poll.poll())
        return 0 if self._stop in happened else happened[file]

    def put(self, pixels: npt.NDArray[np.uint8] | bytes | memoryview, height: int = 0, width: int = 0) -> None:
        """Copy a frame that was captured now into the ring.

        Args:
            pixels: the frame, contiguous.
            height: height of the picture, in pixels, if it is not the format's.
            width: width of the picture, in pixels, if it is not the format's.
        """
        data = np.frombuffer(pixels, np.uint8)

        def fill(slot: npt.NDArray[np.uint8]) -> int:
            slot[: data.size] = data
            return data.size

        self.write(fill, height, width)

    def write(
        self,
        fill: Callable[[npt.NDArray[np.uint8]], int],
        height: int = 0,
        width: int = 0,
        captured: tuple[int, int] | None = None,
        copies: int = 1,
    ) -> None:
        """Let a frame be written into the ring.

        Args:
            fill: writes it into a slot uint8 [N], and returns its size in bytes.
            height: height of the picture, in pixels, if it is not the format's.
            width: width of the picture, in pixels, if it is not the format's.
            captured: times of capture, as ``now`` returns them; this moment if None.
            copies: how often the frame is copied until it is in the slot.
        """
        if self._waits:
            row = self._free_slot()
            if row is None:
                return
            capture = self.writer.begin_in(row, *(captured or now()))
        else:
            begun = self.writer.begin(*(captured or now()))
            if begun is None:
                return
            capture = begun
        try:
            nbytes = fill(self.writer.pixels(capture))
        except BaseException:
            self.writer.abandon(capture, Reason.SOURCE_LOST)
            raise
        self.publish(capture, nbytes, height, width, copies)

    def _free_slot(self) -> int | None:
        """Wait for a slot, and lease it before the frame gets its number; None if the source is to stop.

        The reader says that a slot is free before it gives up the lease, so a slot that ``wait`` has seen may be
        refused for a moment longer.
        """
        while True:
            row = self.writer.reserve()
            if row is not None:
                return row
            self.writer.wait(0.1)
            if self.stopped:
                return None

    def publish(
        self, capture: Capture, nbytes: int | None = None, height: int = 0, width: int = 0, copies: int = 0
    ) -> None:
        """Hand over a frame that lies in the ring; what is left out is as the format says."""
        self.published, self.copied = self.published + 1, self.copied + copies
        self.writer.publish(
            capture,
            self._format.nbytes if nbytes is None else nbytes,
            height or self._format.height,
            width or self._format.width,
            FORMATS.index(self._format.pixel_format),
        )

    def ticks(self, fps: float | None) -> Iterator[int]:
        """Yield 0, 1, 2, ... at a rate until the source is to stop; as fast as it is asked where that is None.

        A tick that comes too late is followed by the next one at its time: the rate holds on the average.
        """
        start, number = time.monotonic(), 0
        while not self.pause(start + number / fps - time.monotonic() if fps else 0):
            yield number
            number += 1


def now() -> tuple[int, int]:
    """Return CLOCK_MONOTONIC and the time since 1970, in nanoseconds."""
    return time.monotonic_ns(), time.time_ns()


class Source(ABC):
    """Delivers frames in a process of its own.

    Attributes:
        kind: its name in a line's file, and the scheme of its URI.
        waits: whether it waits for a free slot where it is given no rate: files can, cameras can't.
        comes_back: whether it may be opened later where it cannot be now: devices may, files don't.
    """

    kind: ClassVar[str]
    waits: ClassVar[bool] = False
    comes_back: ClassVar[bool] = False

    def __init__(self, uri: str, fps: float | None, options: dict[str, Any]) -> None:
        """Prepare.

        Args:
            uri: what to open.
            fps: frames a second; None for the source's own rate.
            options: further keys of the camera in the line's file.

        Raises:
            SourceError: one of the options is unknown or wrong.
        """
        self.uri, self.fps, self.options = uri, fps, dict(options)
        unknown = sorted(self.options.keys() - self.known_options())
        if unknown:
            known = ", ".join(sorted(self.known_options())) or "none"
            raise SourceError(f"unknown options of {self.kind}: {', '.join(unknown)}; it knows {known}")

    @classmethod
    def known_options(cls) -> frozenset[str]:
        """Return the names of options that this kind takes."""
        return frozenset()

    @abstractmethod
    def open(self) -> FrameFormat:
        """Open the source, and say what it will deliver.

        Raises:
            SourceError: says what is wrong with it.
        """

    @abstractmethod
    def run(self, outlet: Outlet) -> None:
        """Deliver frames until the source ends or is to stop.

        Raises:
            SourceError: it was lost, or delivers something else now; it is opened anew after a while.
        """

    def close(self) -> None:  # noqa: B027  # most have nothing to close
        """Close what is open."""
