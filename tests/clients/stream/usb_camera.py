"""A USB camera in software: a USB Video Class device with a bulk endpoint, on the kernel's USB/IP bus.

It speaks USB/IP (the kernel's Documentation/usb/usbip_protocol.rst) over a socket that ``vhci_hcd`` is handed, so that
``uvcvideo`` drives it as it does any camera. Descriptors and requests are those of the USB Video Class 1.1.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
import traceback
from collections import deque
from collections.abc import Sequence
from pathlib import Path

ATTACH = Path("/sys/devices/platform/vhci_hcd.0/attach")
HIGH_SPEED = 3  # enum usb_device_speed
UNLINK, SUBMITTED, UNLINKED = 2, 3, 4  # commands and answers of USB/IP; what is not UNLINK is a transfer
HEADER = struct.Struct(">5Iiiiii8s")  # command, number, device, direction, endpoint; the rest depends on the command
HEIGHT, WIDTH = 480, 640
YUYV, MJPEG = 1, 2  # numbers of formats
FPS = {YUYV: 5, MJPEG: 25}  # such a camera's bus has no room for more
PAYLOAD, PACKET = 16384, 512  # bytes of a transfer with its header, and of a packet on the bus
FIXED, ERROR, END = 0x80, 0x40, 0x02  # flags of a payload's header; 0x01 changes from frame to frame


def _descriptor(kind: int, layout: str, *fields: int | bytes) -> bytes:
    content = struct.pack(f"<{layout}", *fields)
    return bytes([2 + len(content), kind]) + content


def _frame(kind: int, fps: int) -> bytes:
    size, interval = HEIGHT * WIDTH * 2, 10_000_000 // fps
    rate = size * 8 * fps
    return _descriptor(0x24, "3BHHIIIIBI", kind, 1, 0, WIDTH, HEIGHT, rate, rate, size, interval, 1, interval)


def _configuration() -> bytes:
    """Return the configuration's descriptors: a camera, its output, and a stream in two formats."""
    terminals = _descriptor(0x24, "BBHBB3HBH", 2, 1, 0x0201, 0, 0, 0, 0, 0, 2, 0)
    terminals += _descriptor(0x24, "BBHBBB", 3, 2, 0x0101, 0, 1, 0)
    control = _descriptor(0x24, "BHHIBB", 1, 0x0110, 13 + len(terminals), 1_000_000, 1, 1) + terminals
    guid = b"YUY2" + bytes.fromhex("00001000800000aa00389b71")
    formats = _descriptor(0x24, "3B16s6B", 4, YUYV, 1, guid, 16, 1, 0, 0, 0, 0) + _frame(5, FPS[YUYV])
    formats += _descriptor(0x24, "9B", 6, MJPEG, 1, 1, 1, 0, 0, 0, 0) + _frame(7, FPS[MJPEG])
    stream = _descriptor(0x24, "BBH9B", 1, 2, 15 + len(formats), 0x81, 0, 2, 0, 0, 0, 1, 0, 0) + formats
    body = (
        _descriptor(11, "6B", 0, 2, 0x0E, 3, 0, 0)
        + _descriptor(4, "7B", 0, 0, 0, 0x0E, 1, 0, 0)
        + control
        + _descriptor(4, "7B", 1, 0, 1, 0x0E, 2, 0, 0)
        + stream
        + _descriptor(5, "BBHB", 0x81, 2, PACKET, 0)
    )
    return _descriptor(2, "H5B", 9 + len(body), 2, 1, 0, 0x80, 250) + body


DESCRIPTORS = {
    1: _descriptor(1, "H4B3H4B", 0x0200, 0xEF, 2, 1, 64, 0x1D6B, 0x0104, 0x0100, 0, 0, 0, 1),
    2: _configuration(),
}


def _negotiated(kind: int) -> bytes:
    """Return what the device offers for a stream in a format (its probe and commit control)."""
    size, interval = HEIGHT * WIDTH * 2, 10_000_000 // FPS[kind]
    return struct.pack("<HBBI5H3I4B", 1, kind, 1, interval, 0, 0, 0, 0, 0, size, PAYLOAD, 1_000_000, 3, 1, 1, 1)


class UsbCamera:
    """Sends JPEGs, one after the other and again from the first on, when the driver asks for a stream."""

    def __init__(self, connection: socket.socket, pictures: Sequence[bytes], broken: int) -> None:
        """Prepare.

        Args:
            connection: to the kernel.
            pictures: JPEGs.
            broken: how many frames later there is one that is marked as broken, again and again.
        """
        self._connection, self._pictures, self._broken = connection, pictures, broken
        self._asked: deque[int] = deque()  # numbers of the transfers that wait for a payload
        self._payloads: deque[bytes] = deque()  # of the frame that is being sent
        self._frame, self._next, self._kind = 0, 0.0, MJPEG

    def serve(self) -> None:
        """Answer until the connection ends."""
        while True:
            pause = None
            if self._asked:
                pause = 0.0 if self._payloads else max(0.0, self._next - time.monotonic())
            if select.select([self._connection], [], [], pause)[0]:
                try:
                    self._answer()
                except ConnectionError:
                    return
            else:
                self._send_payload()

    def _receive(self, size: int) -> bytes:
        content = self._connection.recv(size, socket.MSG_WAITALL)
        if len(content) < size:
            raise ConnectionError
        return content

    def _answer(self) -> None:
        command, number, _, inward, endpoint, flags, length, *_, setup = HEADER.unpack(self._receive(HEADER.size))
        if command == UNLINK:  # whose first number is that of the transfer that is not wanted any more
            found = flags in self._asked
            if found:
                self._asked.remove(flags)
            self._say(UNLINKED, number, -errno.ECONNRESET if found else 0, 0)
        elif endpoint:
            self._asked.append(number)
        else:
            sent = b"" if inward else self._receive(length)
            content = self._control(setup, sent)
            if content is None:
                self._say(SUBMITTED, number, -errno.EPIPE, 0)
            elif inward:
                self._say(SUBMITTED, number, 0, len(content[:length]), content[:length])
            else:
                self._say(SUBMITTED, number, 0, length)

    def _say(self, answer: int, number: int, status: int, length: int, content: bytes = b"") -> None:
        self._connection.sendall(HEADER.pack(answer, number, 0, 0, 0, status, length, 0, 0, 0, b"") + content)

    def _control(self, setup: bytes, sent: bytes) -> bytes | None:
        """Return what a control request reads, which may be nothing; None where the device has no such thing."""
        kind, request, value, *_ = struct.unpack("<BBHHH", setup)
        if kind & 0x60 == 0:
            answers = {0: b"\0\0", 6: DESCRIPTORS.get(value >> 8), 8: b"\1"}
            return answers.get(request, b"")
        if kind & 0x1F != 1 or value >> 8 not in (1, 2):
            return None
        if request == 0x01:  # SET_CUR
            self._kind = sent[2] if sent[2] in FPS else MJPEG
            if value >> 8 == 2:
                self._payloads.clear()
            return b""
        offer = _negotiated(self._kind)
        return {0x85: struct.pack("<H", len(offer)), 0x86: b"\3"}.get(request, offer)

    def _send_payload(self) -> None:
        if not self._payloads:
            self._next = max(self._next, time.monotonic()) + 1 / FPS[MJPEG]
            picture = self._pictures[self._frame % len(self._pictures)]
            flags = FIXED | self._frame % 2
            if self._frame % self._broken == self._broken - 1:
                flags |= ERROR
            self._frame += 1
            for start in range(0, len(picture), PAYLOAD - 2):
                part = picture[start : start + PAYLOAD - 2]
                last = END if start + len(part) == len(picture) else 0
                self._payloads.append(bytes([2, flags | last]) + part)
        payload = self._payloads.popleft()
        self._say(SUBMITTED, self._asked.popleft(), 0, len(payload), payload)


def plug_in(pictures: Sequence[bytes], broken: int) -> int:
    """Plug a camera in, and return the number of its process, whose end unplugs it.

    Args:
        pictures: JPEGs.
        broken: how many frames later there is one that is marked as broken, again and again.
    """
    ours, theirs = socket.socketpair()
    process = os.fork()
    if not process:
        try:
            theirs.close()
            UsbCamera(ours, pictures, broken).serve()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    ours.close()
    ATTACH.write_text(f"0 {theirs.fileno()} 1 {HIGH_SPEED}")
    theirs.close()
    return process
