"""Cameras of Video for Linux: USB cameras, those of boards, frame grabbers."""

from __future__ import annotations

import errno
import logging
import os
import re
import select
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ctypes import c_int32
from fractions import Fraction
from typing import Any

from triton_yolo.clients.memory.ring import Reason
from triton_yolo.clients.pixel_formats import PIXEL_FORMATS
from triton_yolo.clients.stream.errors import SourceError
from triton_yolo.clients.stream.frames import ENCODED, FrameFormat
from triton_yolo.clients.stream.sources import v4l2_api as api
from triton_yolo.clients.stream.sources.base import Outlet, Source, now
from triton_yolo.clients.stream.sources.options import size_of
from triton_yolo.clients.stream.sources.v4l2_buffers import QUEUED, Layout, MappedQueue, Queue, SlotQueue

LOGGER = logging.getLogger(__name__)

MJPEG = "mjpeg"
# The codes of each format, in the order in which they are preferred: by bytes of a frame. MJPEG has the fewest on the
# camera's cable, but has to be decoded, and comes last.
CODES: Mapping[str, tuple[str, ...]] = {
    "bayer_rggb": ("RGGB",),
    "bayer_bggr": ("BA81",),
    "bayer_grbg": ("GRBG",),
    "bayer_gbrg": ("GBRG",),
    "nv12": ("NV12",),
    "yuyv": ("YUYV",),
    "rgb": ("RGB3",),
    MJPEG: ("MJPG", "JPEG"),
}
TOLERANCE = 0.02  # of a rate: 29.97 is 30
SEQUENCES = 1 << 32  # numbers of frames in a driver's buffers begin again at 0
REMEDIES = {
    errno.ENOENT: "there is no such device; is the camera plugged in? /dev/v4l/by-id has those that are",
    errno.EACCES: "this user may not: add it to the group video",
    errno.EPERM: "this user may not: add it to the group video",
    errno.ENODEV: "it is not there any more; was it unplugged?",
    errno.ENXIO: "it is not there any more; was it unplugged?",
    errno.EBUSY: "another program uses it: end that program (fuser says which)",
    errno.EIO: "the camera does not answer as it should: check its cable, its supply and the hub between",
    errno.ENOSPC: "its bus has no room: use another USB port, a smaller size, a lower rate or mjpeg",
    errno.ENOLINK: "there is no signal at this input: check the cable, or choose another input",
    errno.ENOLCK: "the signal at this input is not stable: check the cable and what sends it",
    errno.ERANGE: "it is outside of what the device takes",
    errno.ENOTTY: "this is no V4L2 device",
    errno.EINVAL: "the driver does not take it",
}


class V4l2(Source):
    """``v4l2:/dev/video0``: a camera in the format with the fewest bytes of those that the server takes.

    The driver writes frames into the ring itself where it can (USERPTR); else they are copied once (MMAP). JPEGs go on
    as the camera made them.

    Options: ``size`` (HxW, the camera's own), ``pixel_format`` (a name of CODES, the first that the camera has),
    ``input`` (a number, for frame grabbers), ``buffers`` (3, how many the driver has at a time), ``controls`` (values
    by name, as ``v4l2-ctl --list-ctrls`` writes them, or by number).
    """

    kind = "v4l2"
    comes_back = True

    @classmethod
    def known_options(cls) -> frozenset[str]:
        """See Source."""
        return frozenset({"size", "pixel_format", "input", "buffers", "controls"})

    def __init__(self, uri: str, fps: float | None, options: dict[str, Any]) -> None:
        """See Source."""
        super().__init__(uri, fps, options)
        self._path, self._file = uri.removeprefix("v4l2:"), -1
        if not self._path.startswith("/"):
            raise SourceError(f"{uri!r} names no device: use v4l2:/dev/videoN, or a name in /dev/v4l/by-id")
        self._size = size_of(options["size"]) if "size" in options else None
        self._buffers = _whole(options.get("buffers", QUEUED), "buffers", 1, api.MAX_FRAME)
        self._input = _whole(options["input"], "input", 0, 1000) if "input" in options else None
        wanted = options.get("pixel_format")
        if wanted is not None and wanted not in CODES:
            raise SourceError(f"{wanted!r} is no pixel format of V4L2 cameras: choose one of {', '.join(CODES)}")
        self._names = tuple(CODES) if wanted is None else (wanted,)
        self._controls = options.get("controls", {})
        if not isinstance(self._controls, dict):
            raise SourceError(f"controls are values by name; got {self._controls!r}")

    def open(self) -> FrameFormat:
        """See Source."""
        with self._explained("cannot be opened"):
            self._file = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            self._check_capabilities(api.call(self._file, api.QUERYCAP, api.Capability()))
        with self._explained("its input cannot be set"):
            self._choose_input()
        with self._explained("its format cannot be set"):
            frames = self._set_format(*self._choose())
        with self._explained("its rate cannot be set"):
            self._set_rate(frames)
        for name, value in self._controls.items():
            self._set_control(str(name), value)
        return frames

    def run(self, outlet: Outlet) -> None:
        """See Source."""
        with self._explained("cannot start"):
            queue = self._queue(outlet)
            api.call(self._file, api.STREAMON, c_int32(api.VIDEO_CAPTURE))
        with self._explained("was lost"):
            expected: int | None = None
            while happened := outlet.wait(self._file, select.POLLIN | select.POLLPRI):
                if happened & select.POLLPRI:
                    self._see_events()
                buffer = queue.next()
                if buffer is None:
                    if happened & select.POLLERR:
                        raise OSError(errno.EIO, "")  # or this would go on for ever, without a pause
                    continue
                missed = 0 if expected is None else (buffer.sequence - expected) % SEQUENCES
                if 0 < missed < SEQUENCES // 2:  # else the driver has begun to count again
                    outlet.writer.miss(Reason.SOURCE_LOST, missed)
                expected = buffer.sequence + 1
                if buffer.flags & api.BUF_FLAG_ERROR or not self._layout.is_whole(buffer.bytesused):
                    outlet.writer.miss(Reason.SOURCE_LOST)
                    queue.give_back(buffer)
                else:
                    queue.deliver(buffer, captured(buffer))
        queue.empty()

    def close(self) -> None:
        """See Source."""
        if self._file >= 0:
            os.close(self._file)  # the driver stops, and lets go of the ring's pages
            self._file = -1

    def _check_capabilities(self, device: api.Capability) -> None:
        can = device.device_caps if device.capabilities & api.CAP_DEVICE_CAPS else device.capabilities
        if can & api.CAP_VIDEO_CAPTURE and can & api.CAP_STREAMING:
            return
        if can & api.CAP_VIDEO_CAPTURE_MPLANE:
            raise SourceError(
                f"{self._path} ({_text(device.card)}) has the multi-planar interface of V4L2 alone, which is not "
                "supported; its maker's GStreamer or libcamera plugin can serve it as RTSP"
            )
        raise SourceError(
            f"{self._path} ({_text(device.card)}) delivers no pictures: cameras have several devices, of which the "
            "first one does; /dev/v4l/by-id names it with -index0"
        )

    def _choose_input(self) -> None:
        if self._input is not None:
            api.call(self._file, api.S_INPUT, c_int32(self._input))
        current = api.tried(self._file, api.G_INPUT, c_int32(), (errno.ENOTTY, errno.EINVAL))
        # A grabber keeps the timings of the last signal until it is told those of this one.
        timings = api.tried(self._file, api.QUERY_DV_TIMINGS, api.DvTimings(), (errno.ENOTTY, errno.ENODATA))
        if timings is not None:
            api.call(self._file, api.S_DV_TIMINGS, timings)
        change = api.EventSubscription(type=api.EVENT_SOURCE_CHANGE, id=current.value if current else 0)
        api.tried(self._file, api.SUBSCRIBE_EVENT, change, (errno.ENOTTY, errno.EINVAL))  # cameras don't have it

    def _choose(self) -> tuple[str, int, int, int]:
        """Return name, number, height and width of the format to ask for."""
        listed = {one.pixelformat for one in api.entries(self._file, api.ENUM_FMT, api.FmtDesc(type=api.VIDEO_CAPTURE))}
        known = [(name, code) for name in self._names for code in map(api.fourcc, CODES[name]) if code in listed]
        if not known:
            has = ", ".join(sorted(_code_text(code) for code in listed)) or "none"
            raise SourceError(f"{self._path} has none of {', '.join(self._names)}; the codes of its formats are {has}")
        current = api.call(self._file, api.G_FMT, api.Format(type=api.VIDEO_CAPTURE)).fmt.pix
        height, width = self._size or (current.height, current.width)
        fitting = [one for one in known if self._has_size(one[1], height, width)]
        if self._size and not fitting:
            sizes = dict.fromkeys(text for _, code in known for text in self._size_texts(code))
            raise SourceError(f"{self._path} has no size {height}x{width}; it has {', '.join(sizes)}")
        fast = [one for one in fitting if self._has_rate(one[1], height, width)]
        return *(fast or fitting or known)[0], height, width

    def _sizes(self, code: int) -> Iterator[api.FrmSizeEnum]:
        return api.entries(self._file, api.ENUM_FRAMESIZES, api.FrmSizeEnum(pixel_format=code))

    def _has_size(self, code: int, height: int, width: int) -> bool:
        """Return whether a format comes in a size, or the driver does not say."""
        found = list(self._sizes(code))
        return not found or any(_is_in(one, height, width) for one in found)

    def _size_texts(self, code: int) -> Iterator[str]:
        for one in self._sizes(code):
            alone, many = one.size.discrete, one.size.stepwise
            if one.type == api.DISCRETE:
                yield f"{alone.height}x{alone.width}"
            else:
                yield f"{many.min_height}x{many.min_width} to {many.max_height}x{many.max_width}"

    def _has_rate(self, code: int, height: int, width: int) -> bool:
        """Return whether a format comes at the rate that is asked for, or the driver does not say."""
        if self.fps is None:
            return True
        which = api.FrmIvalEnum(pixel_format=code, height=height, width=width)
        found = list(api.entries(self._file, api.ENUM_FRAMEINTERVALS, which))
        return not found or any(
            _is_rate(self.fps, one.min)
            if one.type == api.DISCRETE
            else _seconds(one.min) <= (1 + TOLERANCE) / self.fps and _seconds(one.max) >= (1 - TOLERANCE) / self.fps
            for one in found
        )

    def _wanted(self, code: int, height: int, width: int) -> api.Format:
        """Return the format to ask for; what is 0 is the driver's to say."""
        wanted = api.Format(type=api.VIDEO_CAPTURE)
        wanted.fmt.pix = api.PixFormat(width=width, height=height, pixelformat=code, field=api.FIELD_NONE)
        return wanted

    def _set_format(self, name: str, code: int, height: int, width: int) -> FrameFormat:
        got = api.call(self._file, api.S_FMT, self._wanted(code, height, width)).fmt.pix
        if got.pixelformat != code or (self._size and (got.height, got.width) != self._size):
            raise SourceError(
                f"{self._path} delivers {got.height}x{got.width} of {_code_text(got.pixelformat)} where "
                f"{height}x{width} of {_code_text(code)} is wanted: choose another size or pixel_format"
            )
        height, width = got.height, got.width
        if got.field not in api.WHOLE_FRAMES:
            raise SourceError(f"{self._path} delivers fields, and no whole frames: choose another input or size")
        if name == MJPEG:
            self._layout = Layout(0, 0, 0, got.sizeimage)
            return FrameFormat(ENCODED, height, width, got.sizeimage)
        shape = PIXEL_FORMATS[name].shape(height, width)
        nbytes = PIXEL_FORMATS[name].nbytes(height, width)
        line = nbytes // shape[0]
        self._layout = Layout(shape[0], line, max(line, got.bytesperline), got.sizeimage)
        return FrameFormat(name, height, width, nbytes)

    def _set_rate(self, frames: FrameFormat) -> None:
        if self.fps is None:
            return
        wanted = Fraction(self.fps).limit_denominator(1001)  # of 30000/1001, television's
        rate = api.StreamParm(type=api.VIDEO_CAPTURE)
        rate.timeperframe = api.Fract(wanted.denominator, wanted.numerator)
        answer = api.tried(self._file, api.S_PARM, rate, (errno.ENOTTY, errno.EINVAL, errno.ENODATA))
        if answer is None or not answer.capability & api.CAP_TIMEPERFRAME:
            raise SourceError(f"{self._path} has a rate of its own, which cannot be set: leave fps out")
        if not _is_rate(self.fps, answer.timeperframe):
            got = answer.timeperframe.denominator / max(1, answer.timeperframe.numerator)
            raise SourceError(
                f"{self._path} delivers {got:g} frames/s in {frames.height}x{frames.width} of {frames.pixel_format}, "
                f"and not {self.fps:g}: choose that, another size or another pixel_format"
            )

    def _set_control(self, name: str, value: object) -> None:
        controls = dict(self._list_controls())
        numbers = {control.id: control for control in controls.values()}
        is_number = re.fullmatch(r"\d+|0x[0-9a-fA-F]+", name)
        control = controls.get(name) or (numbers.get(int(name, 0)) if is_number else None)
        if control is None:
            raise SourceError(f"{self._path} has no control {name!r}; it has {', '.join(controls) or 'none'}")
        # Drivers take the nearest value that they can, and say nothing.
        ranged = control.type in api.RANGED
        least, most = (control.minimum, control.maximum) if ranged else (-(1 << 31), (1 << 31) - 1)
        setting = api.Control(id=control.id, value=_whole(value, f"the control {name}", least, most))
        with self._explained(f"its control {name} cannot be {value}"):
            api.call(self._file, api.S_CTRL, setting)

    def _list_controls(self) -> Iterator[tuple[str, api.QueryCtrl]]:
        """Yield the device's controls by name."""
        number = 0
        while True:
            asked = api.QueryCtrl(id=number | api.CTRL_FLAG_NEXT_CTRL)
            found = api.tried(self._file, api.QUERYCTRL, asked, (errno.EINVAL, errno.ENOTTY))
            if found is None:
                return
            number = found.id
            if not found.flags & api.CTRL_FLAG_DISABLED:
                yield re.sub(r"[^a-z0-9]+", "_", _text(found.name).lower()).strip("_"), found

    def _queue(self, outlet: Outlet) -> Queue:
        slots = SlotQueue(self._file, self._layout, outlet, self._buffers)
        if slots.fill():
            LOGGER.info("%s: the driver writes into the ring", self._path)
            return slots
        slots.empty()
        LOGGER.info("%s: frames are copied into the ring", self._path)
        mapped = MappedQueue(self._file, self._layout, outlet, self._buffers)
        mapped.fill()
        return mapped

    def _see_events(self) -> None:
        """Raise SourceError if the signal has changed."""
        event = api.tried(self._file, api.DQEVENT, api.Event(), (errno.ENOENT,))
        if event is not None and event.type == api.EVENT_SOURCE_CHANGE:
            raise SourceError(f"{self._path}: the size or the rate of the signal has changed")

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn a driver's refusal into a SourceError that says what is refused, and what to do."""
        try:
            yield
        except OSError as error:
            why = REMEDIES.get(error.errno or 0, os.strerror(error.errno or 0))
            raise SourceError(f"{self._path}: {what}: {why}") from None


def captured(buffer: api.Buffer) -> tuple[int, int]:
    """Return when a frame was captured on CLOCK_MONOTONIC and since 1970, in nanoseconds.

    Drivers whose clock is another one, or none, are not believed: then it is this moment.
    """
    monotonic_ns, wall_ns = now()
    then = buffer.seconds * 1_000_000_000 + buffer.microseconds * 1000
    known = buffer.flags & api.BUF_FLAG_TIMESTAMP_MASK == api.BUF_FLAG_TIMESTAMP_MONOTONIC
    if not known or not 0 < then <= monotonic_ns:
        return monotonic_ns, wall_ns
    return then, wall_ns - (monotonic_ns - then)


def _whole(value: object, what: str, least: int, most: int) -> int:
    if not isinstance(value, int) or not least <= value <= most:
        raise SourceError(f"{what} is a whole number from {least} to {most}; got {value!r}")
    return int(value)


def _is_in(size: api.FrmSizeEnum, height: int, width: int) -> bool:
    """Return whether a size is this one, or in this range."""
    alone, many = size.size.discrete, size.size.stepwise
    if size.type == api.DISCRETE:
        return bool((height, width) == (alone.height, alone.width))
    return all(
        low <= value <= high and (value - low) % max(1, step) == 0
        for value, low, high, step in (
            (height, many.min_height, many.max_height, many.step_height),
            (width, many.min_width, many.max_width, many.step_width),
        )
    )


def _seconds(interval: api.Fract) -> float:
    return float(interval.numerator / max(1, interval.denominator))


def _is_rate(fps: float, interval: api.Fract) -> bool:
    return abs(_seconds(interval) * fps - 1) <= TOLERANCE


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


def _code_text(code: int) -> str:
    return "".join(chr(byte) if 32 < byte < 127 else "?" for byte in code.to_bytes(4, "little"))
