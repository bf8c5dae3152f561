"""Layouts and numbers of Video for Linux that a capture needs, as linux/videodev2.h of 64-bit Linux has them.

The names are the header's, in Python's case and without their prefixes; tests hold them against the header itself.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator
from ctypes import c_char, c_int32, c_int64, c_uint8, c_uint32, c_uint64
from typing import TypeVar

VIDEO_CAPTURE = 1  # enum v4l2_buf_type
MMAP, USERPTR = 1, 2  # enum v4l2_memory
FIELD_NONE, WHOLE_FRAMES = 1, {1, 4, 8, 9}  # enum v4l2_field; those whose buffers hold all lines, from top to bottom
CAP_VIDEO_CAPTURE, CAP_VIDEO_CAPTURE_MPLANE, CAP_STREAMING, CAP_DEVICE_CAPS = 0x1, 0x1000, 0x04000000, 0x80000000
CAP_TIMEPERFRAME = 0x1000
BUF_FLAG_ERROR, BUF_FLAG_TIMESTAMP_MASK, BUF_FLAG_TIMESTAMP_MONOTONIC = 0x40, 0xE000, 0x2000
CTRL_FLAG_DISABLED, CTRL_FLAG_NEXT_CTRL = 0x1, 0x80000000
RANGED = {1, 2, 3, 9}  # enum v4l2_ctrl_type: integers, booleans and two kinds of menus
DISCRETE = 1  # of enum v4l2_frmsizetypes and v4l2_frmivaltypes; the other two are ranges
EVENT_SOURCE_CHANGE = 5
MAX_FRAME = 32  # buffers of a queue


class Capability(ctypes.Structure):
    """What a device can do."""

    _fields_ = (
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class FmtDesc(ctypes.Structure):
    """One of the pixel formats that a device offers."""

    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", c_char * 32),
        ("pixelformat", c_uint32),
        ("mbus_code", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class PixFormat(ctypes.Structure):
    """Pixel format and size of frames whose planes share a buffer."""

    _fields_ = (
        ("width", c_uint32),
        ("height", c_uint32),
        ("pixelformat", c_uint32),
        ("field", c_uint32),
        ("bytesperline", c_uint32),
        ("sizeimage", c_uint32),
        ("colorspace", c_uint32),
        ("priv", c_uint32),
        ("flags", c_uint32),
        ("ycbcr_enc", c_uint32),
        ("quantization", c_uint32),
        ("xfer_func", c_uint32),
    )


class _FormatUnion(ctypes.Union):
    # Other types of buffers have pointers here: the union is aligned for them.
    _fields_ = (("pix", PixFormat), ("raw_data", c_uint8 * 200), ("align", c_uint64))


class Format(ctypes.Structure):
    """Pixel format and size of a type of buffers."""

    _fields_ = (("type", c_uint32), ("fmt", _FormatUnion))


class Fract(ctypes.Structure):
    """A fraction."""

    _fields_ = (("numerator", c_uint32), ("denominator", c_uint32))


class _FrameSizeStepwise(ctypes.Structure):
    _fields_ = tuple(
        (name, c_uint32) for name in ("min_width", "max_width", "step_width", "min_height", "max_height", "step_height")
    )


class _FrameSizeDiscrete(ctypes.Structure):
    _fields_ = (("width", c_uint32), ("height", c_uint32))


class _FrameSizeUnion(ctypes.Union):
    _fields_ = (("discrete", _FrameSizeDiscrete), ("stepwise", _FrameSizeStepwise))


class FrmSizeEnum(ctypes.Structure):
    """A size that a pixel format comes in, or a range of them."""

    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("type", c_uint32),
        ("size", _FrameSizeUnion),
        ("reserved", c_uint32 * 2),
    )


class FrmIvalEnum(ctypes.Structure):
    """A time from frame to frame in seconds, or a range of them, whose ``min`` is then the time alone."""

    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("type", c_uint32),
        ("min", Fract),
        ("max", Fract),
        ("step", Fract),
        ("reserved", c_uint32 * 2),
    )


class StreamParm(ctypes.Structure):
    """Rate of a capture."""

    _fields_ = (
        ("type", c_uint32),
        ("capability", c_uint32),
        ("capturemode", c_uint32),
        ("timeperframe", Fract),
        ("extendedmode", c_uint32),
        ("readbuffers", c_uint32),
        ("raw_data", c_uint8 * (200 - 24)),
    )


class RequestBuffers(ctypes.Structure):
    """How many buffers a queue has, and whose memory they are."""

    _fields_ = (
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("flags", c_uint8),
        ("reserved", c_uint8 * 3),
    )


class _Timecode(ctypes.Structure):
    _fields_ = (("type", c_uint32), ("flags", c_uint32), ("rest", c_uint8 * 8))


class _Memory(ctypes.Union):
    _fields_ = (("offset", c_uint32), ("userptr", c_uint64), ("fd", c_int32))


class Buffer(ctypes.Structure):
    """A frame's buffer on its way to the driver or back."""

    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("bytesused", c_uint32),
        ("flags", c_uint32),
        ("field", c_uint32),
        ("seconds", c_int64),
        ("microseconds", c_int64),
        ("timecode", _Timecode),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("m", _Memory),
        ("length", c_uint32),
        ("reserved2", c_uint32),
        ("request_fd", c_int32),
    )


class QueryCtrl(ctypes.Structure):
    """A control of a device: what it is called and what it takes."""

    _fields_ = (
        ("id", c_uint32),
        ("type", c_uint32),
        ("name", c_char * 32),
        ("minimum", c_int32),
        ("maximum", c_int32),
        ("step", c_int32),
        ("default_value", c_int32),
        ("flags", c_uint32),
        ("reserved", c_uint32 * 2),
    )


class Control(ctypes.Structure):
    """Value of a control."""

    _fields_ = (("id", c_uint32), ("value", c_int32))


class DvTimings(ctypes.Structure):
    """Timings of a digital video signal, of which nothing is read here."""

    _pack_ = 1
    _fields_ = (("type", c_uint32), ("reserved", c_uint32 * 32))


class EventSubscription(ctypes.Structure):
    """Which events a device is to send."""

    _fields_ = (("type", c_uint32), ("id", c_uint32), ("flags", c_uint32), ("reserved", c_uint32 * 5))


class Event(ctypes.Structure):
    """Something that has happened to a device."""

    _fields_ = (
        ("type", c_uint32),
        ("u", c_uint64 * 8),  # its 64-bit values align it
        ("pending", c_uint32),
        ("sequence", c_uint32),
        ("seconds", c_int64),
        ("nanoseconds", c_int64),
        ("id", c_uint32),
        ("reserved", c_uint32 * 8),
    )


WRITES, READS = 1, 2  # directions of ioctl numbers, seen from the program (asm-generic/ioctl.h)


def ioctl_number(direction: int, number: int, argument: type, group: str = "V") -> int:
    """Return the number of an ioctl.

    Args:
        direction: WRITES, READS or both.
        number: its number in the group.
        argument: ctypes type of its argument.
        group: letter of the group.
    """
    return direction << 30 | ctypes.sizeof(argument) << 16 | ord(group) << 8 | number


BOTH = READS | WRITES
QUERYCAP = ioctl_number(READS, 0, Capability)
ENUM_FMT = ioctl_number(BOTH, 2, FmtDesc)
G_FMT = ioctl_number(BOTH, 4, Format)
S_FMT = ioctl_number(BOTH, 5, Format)
REQBUFS = ioctl_number(BOTH, 8, RequestBuffers)
QUERYBUF = ioctl_number(BOTH, 9, Buffer)
QBUF = ioctl_number(BOTH, 15, Buffer)
DQBUF = ioctl_number(BOTH, 17, Buffer)
STREAMON = ioctl_number(WRITES, 18, c_int32)
STREAMOFF = ioctl_number(WRITES, 19, c_int32)
G_PARM = ioctl_number(BOTH, 21, StreamParm)
S_PARM = ioctl_number(BOTH, 22, StreamParm)
S_CTRL = ioctl_number(BOTH, 28, Control)
QUERYCTRL = ioctl_number(BOTH, 36, QueryCtrl)
G_INPUT = ioctl_number(READS, 38, c_int32)
S_INPUT = ioctl_number(BOTH, 39, c_int32)
ENUM_FRAMESIZES = ioctl_number(BOTH, 74, FrmSizeEnum)
ENUM_FRAMEINTERVALS = ioctl_number(BOTH, 75, FrmIvalEnum)
S_DV_TIMINGS = ioctl_number(BOTH, 87, DvTimings)
DQEVENT = ioctl_number(READS, 89, Event)
SUBSCRIBE_EVENT = ioctl_number(WRITES, 90, EventSubscription)
QUERY_DV_TIMINGS = ioctl_number(READS, 99, DvTimings)

Argument = TypeVar("Argument", bound="ctypes.Structure | c_int32")


def call(file: int, request: int, argument: Argument) -> Argument:
    """Make an ioctl, and return its argument as the driver has filled it in.

    Args:
        file: descriptor of the device.
        request: number of the ioctl.
        argument: its argument.

    Raises:
        OSError: the driver refuses.
    """
    import fcntl  # which other systems lack

    fcntl.ioctl(file, request, argument, True)
    return argument


def tried(file: int, request: int, argument: Argument, refusals: tuple[int, ...]) -> Argument | None:
    """Make an ioctl that a driver may refuse; None if it does for one of the reasons that are expected.

    Args:
        file: descriptor of the device.
        request: number of the ioctl.
        argument: its argument.
        refusals: error numbers that are expected.

    Raises:
        OSError: the driver refuses for another reason.
    """
    try:
        return call(file, request, argument)
    except OSError as error:
        if error.errno in refusals:
            return None
        raise


Entry = TypeVar("Entry", FmtDesc, FrmSizeEnum, FrmIvalEnum)


def entries(file: int, request: int, first: Entry) -> Iterator[Entry]:
    """Yield the entries of one of a device's lists; none where the driver does not have it.

    Args:
        file: descriptor of the device.
        request: ioctl that returns an entry.
        first: its argument, with all fields but the index that say which list.
    """
    for index in range(1000):  # a driver that never says that its list has ended is not believed
        entry = type(first).from_buffer_copy(first)
        entry.index = index
        answer = tried(file, request, entry, (errno.EINVAL, errno.ENOTTY))
        if answer is None:
            return
        yield answer


def fourcc(code: str) -> int:
    """Return the number of a pixel format's four letters."""
    return int.from_bytes(code.encode(), "little")
