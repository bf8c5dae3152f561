"""Video files, and cameras that speak RTSP: decoded by FFmpeg through PyAV."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any, ClassVar, Literal, cast

import av

from triton_yolo.clients.memory.ring import Reason
from triton_yolo.clients.pixel_formats import pixel_format
from triton_yolo.clients.stream.errors import SourceError
from triton_yolo.clients.stream.frames import FrameFormat
from triton_yolo.clients.stream.sources.base import Outlet, Source, now
from triton_yolo.clients.stream.sources.pictures import Converter, is_nv12_in_planes

CHOICES = ("auto", "nv12", "rgb")  # of pixel_format
WAITING_PACKETS = 300  # between network and decoder: ten seconds of a camera, then the camera has to wait


class _Video(Source):
    """What files and streams share: a decoder, and the way of its pictures into a slot.

    Option ``pixel_format``: ``nv12`` and ``rgb`` deliver that, converted with the stream's own colours where needed;
    ``auto`` (the default) takes nv12 where that needs no conversion of colours, and rgb elsewhere.

    A frame that cannot be decoded without damage is not delivered, but counted as lost: nothing may be called good
    because its defect was decoded away.
    """

    threads: ClassVar[Literal["AUTO", "SLICE"]]
    _container: av.container.InputContainer

    def __init__(self, uri: str, fps: float | None, options: dict[str, Any]) -> None:
        """See Source."""
        super().__init__(uri, fps, options)
        self._choice = self.options.get("pixel_format", "auto")
        if self._choice not in CHOICES:
            raise SourceError(f"pixel_format is one of {', '.join(CHOICES)}; got {self._choice!r}")

    @classmethod
    def known_options(cls) -> frozenset[str]:
        """See Source."""
        return frozenset({"pixel_format"})

    def open(self) -> FrameFormat:
        """See Source."""
        self._open()
        if not self._container.streams.video:
            raise SourceError(f"{self._shown} has no video")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = self.threads
        self._stream.codec_context.options = {"err_detect": "explode"}  # an error where it would patch a picture up
        self._frames: Iterator[av.VideoFrame | None] = self._decoded()
        try:
            first = next((frame for frame in self._frames if frame is not None), None)
        except av.FFmpegError:
            first = None
        if first is None:
            raise SourceError(f"{self._shown} has no picture that can be decoded")
        self._frames = chain([first], self._frames)
        self._delivers = self._format_of(first)
        return self._delivers

    def _format_of(self, frame: av.VideoFrame) -> FrameFormat:
        height, width = frame.height, frame.width
        even = height % 2 == 0 and width % 2 == 0
        name = self._choice
        if name == "auto":
            name = "nv12" if even and is_nv12_in_planes(frame) else "rgb"
        if name == "nv12" and not even:
            raise SourceError(f"{self._shown} is {height}x{width}: nv12 needs even sides, so use pixel_format rgb")
        self._converter = Converter(name)
        return FrameFormat(name, height, width, pixel_format(name).nbytes(height, width))

    def _open(self) -> None:
        """Open the container.

        Raises:
            SourceError: says why that is impossible.
        """
        raise NotImplementedError

    @property
    def _shown(self) -> str:
        """What messages call it: without a password."""
        return re.sub(r"//[^@/]*@", "//", self.uri)

    def _packets(self) -> Iterator[av.Packet[Any] | None]:
        """Yield packets as they come, and None now and then where none does."""
        yield from self._container.demux(self._stream)

    def _decoded(self) -> Iterator[av.VideoFrame | None]:
        """Yield pictures; None for those that cannot be decoded, and where none has come."""
        for packet in self._packets():
            if packet is None:
                yield None
                continue
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._damaged += 1
                yield None
                continue
            for frame in frames:
                self._damaged += frame.is_corrupt
                yield None if frame.is_corrupt else frame

    _damaged = 0

    def _count_damaged(self, outlet: Outlet) -> None:
        """Count what could not be decoded since the last call."""
        if self._damaged:
            outlet.writer.miss(Reason.SOURCE_LOST, self._damaged)
        self._damaged = 0

    def _put(self, frame: av.VideoFrame, outlet: Outlet) -> None:
        """Write a picture into the ring.

        Raises:
            SourceError: it is of another size than those before.
        """
        wanted = self._delivers
        if (frame.height, frame.width) != (wanted.height, wanted.width):
            outlet.writer.miss(Reason.SOURCE_LOST)
            raise SourceError(
                f"{self._shown} was {wanted.height}x{wanted.width}, and is {frame.height}x{frame.width} now"
            )
        # PyAV converts into memory of its own; where only bytes change their order, they do so on the way to the slot.
        copies = 1 if wanted.pixel_format == "nv12" and is_nv12_in_planes(frame) else 2
        outlet.write(lambda slot: self._converter.write(frame, slot), captured=_arrival(frame), copies=copies)


class VideoFile(_Video):
    """A video file. Every frame is delivered, as fast as they are taken; with a rate, as a camera delivers them.

    Options: ``pixel_format`` (auto).
    """

    kind = "file"
    waits = True
    threads = "AUTO"

    def _open(self) -> None:
        path = Path(self.uri.removeprefix("file:")).expanduser()
        if not path.is_file():
            raise SourceError(f"there is no file {path}")
        if not path.stat().st_size:
            raise SourceError(f"{path} is empty")
        try:
            self._container = av.open(f"file:{path}")  # else FFmpeg takes a colon in a name for a protocol
        except av.FFmpegError as error:
            raise SourceError(f"{path} is no video that can be read: {error.strerror}") from None

    def run(self, outlet: Outlet) -> None:
        """See Source."""
        for _ in outlet.ticks(self.fps):
            frame = None
            while frame is None and not outlet.stopped:
                try:
                    frame = next(self._frames)
                except StopIteration:
                    self._count_damaged(outlet)
                    return
                except av.FFmpegError as error:
                    raise SourceError(f"{self._shown} cannot be read to its end: {error.strerror}") from None
                self._count_damaged(outlet)
            if frame is not None:
                self._put(frame, outlet)

    def close(self) -> None:
        """See Source."""
        self._container.close()


class Rtsp(_Video):
    """A camera that speaks RTSP. A frame's time of capture is when its last packet has arrived.

    Options: ``pixel_format`` (auto), ``transport`` (tcp or udp; tcp), ``timeout`` in seconds (5): so long without an
    answer, or without a picture, and the camera is lost. A rate leaves frames out, and does not reach the camera.
    """

    kind = "rtsp"
    comes_back = True
    threads = "SLICE"  # threads by frame would hold back as many frames as there are threads

    def __init__(self, uri: str, fps: float | None, options: dict[str, Any]) -> None:
        """See Source."""
        super().__init__(uri, fps, options)
        self._transport = self.options.get("transport", "tcp")
        if self._transport not in ("tcp", "udp"):
            raise SourceError(f"transport is tcp or udp; got {self._transport!r}")
        try:
            self._timeout = float(self.options.get("timeout", 5.0))
        except (TypeError, ValueError):
            self._timeout = 0.0
        if not 0 < self._timeout <= 3600:
            raise SourceError(f"timeout is a number of seconds; got {self.options['timeout']!r}")
        self._waiting: Queue[av.Packet[Any] | None] = Queue(WAITING_PACKETS)
        self._why, self._ending = "it ended", threading.Event()

    @classmethod
    def known_options(cls) -> frozenset[str]:
        """See Source."""
        return frozenset({"pixel_format", "transport", "timeout"})

    def _open(self) -> None:
        # Without the last one FFmpeg collects a second of frames to find a rate that nobody asks for.
        options = {"rtsp_transport": self._transport, "allowed_media_types": "video", "fpsprobesize": "0"}
        try:
            self._container = av.open(self.uri, options=options, timeout=self._timeout)
        except av.FFmpegError as error:
            raise SourceError(f"cannot open {self._shown}: {_words(error)}") from None

    def _receive(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        """Receive packets until the stream ends or is to end, in a thread of its own.

        FFmpeg cannot be told to stop while it waits for the network. The thread can be left behind, and a packet gets
        its time when it arrives, however long the decoder takes for those before it.
        """
        try:
            for packet in container.demux(stream):
                packet.opaque = now()
                self._hand_over(packet)
                if self._ending.is_set():
                    return
        except av.FFmpegError as error:
            self._why = _words(error)
        self._hand_over(None)

    def _hand_over(self, packet: av.Packet[Any] | None) -> None:
        while not self._ending.is_set():
            try:
                return self._waiting.put(packet, timeout=0.5)
            except Full:
                continue

    def _packets(self) -> Iterator[av.Packet[Any] | None]:
        """See _Video."""
        self._stream.codec_context.copy_opaque = True
        arguments = self._container, self._stream
        self._receiver = threading.Thread(target=self._receive, args=arguments, daemon=True)
        self._receiver.start()
        last = time.monotonic()
        while True:
            try:
                packet = self._waiting.get(timeout=0.1)
            except Empty:
                yield None
            else:
                if packet is None:
                    raise SourceError(f"{self._shown} was lost: {self._why}")
                damaged = self._damaged
                yield packet
                if packet.size and self._damaged == damaged:
                    last = time.monotonic()
            if time.monotonic() - last > self._timeout:
                raise SourceError(f"{self._shown} was lost: no picture within {self._timeout:g} s")

    def run(self, outlet: Outlet) -> None:
        """See Source."""
        period, due = int(1e9 / self.fps) if self.fps else 0, 0
        begun, _ = now()
        self._damaged = 0  # before the first whole picture
        for frame in self._frames:
            if outlet.stopped:
                return
            self._count_damaged(outlet)
            if frame is None:
                continue
            arrived, _ = _arrival(frame) or now()
            if arrived < begun:  # of the time in which the ring was made, if not older: packets came all at once then
                continue
            if arrived < due - period // 2:  # half a period, since packets do not arrive as regularly as they are sent
                continue
            due = max(due, arrived - period // 2) + period
            self._put(frame, outlet)

    def close(self) -> None:
        """Close the stream, and say so to the camera, unless that does not answer any more."""
        self._ending.set()
        self._receiver.join(0.5)
        if not self._receiver.is_alive():
            self._container.close()


def _arrival(frame: av.VideoFrame) -> tuple[int, int] | None:
    """When it arrived, as ``now`` returns it; None for pictures of files, which arrive when they are asked for."""
    return cast("tuple[int, int] | None", frame.opaque)


def _words(error: av.FFmpegError) -> str:
    """What FFmpeg says, without the address: that may hold a password."""
    if isinstance(error, av.ExitError | TimeoutError):
        return "no answer"
    return error.strerror or str(error)
