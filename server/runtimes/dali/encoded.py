"""What can be told of an encoded image without decoding it: its format, its size, whether it is whole."""

from __future__ import annotations

import re
import struct

MAX_PIXELS = 1 << 26  # 8192 x 8192: 200 MB decoded; a header that claims more is refused before any memory is taken

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
# Start-of-frame markers; C4, C8 and CC are tables and an extension (ITU T.81, table B.1).
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SEQUENTIAL = frozenset({0xC0, 0xC1})
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
# The next marker that is more than a stuffed byte, a fill byte, a restart or TEM; what lies before it is skipped, as
# decoders do.
MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
MAX_SEGMENTS = 10_000  # a progressive JPEG with a colour profile has some hundred
# Of a progressive JPEG, which usually has 10. For a scan of a few bytes, the decoder goes through all pixels: 1 MB of
# scans over 8192 x 8192 pixels would take minutes of a core.
MAX_SCANS = 100


class ImageError(ValueError):
    """The bytes are no image that this server decodes."""


def check_image(data: memoryview) -> None:
    """Refuse what is no whole JPEG or PNG, or claims more than MAX_PIXELS, without decoding it.

    Args:
        data: the encoded image.

    Raises:
        ImageError: says what was found and what is expected.
    """
    if not len(data):
        raise ImageError("image is empty; send the bytes of one JPEG or PNG")
    start = bytes(data[:8])
    if start == PNG:
        size = _png_size(data)
    elif start[:3] == JPEG:
        size = _jpeg_size(data)
    else:
        raise ImageError(f"image is neither JPEG nor PNG: its first bytes are {start.hex(' ')}")
    height, width = size
    if height < 1 or width < 1:
        raise ImageError(f"image has no pixels: its header says {width}x{height}")
    if height * width > MAX_PIXELS:
        raise ImageError(f"image is too large: its header says {width}x{height}, the limit is {MAX_PIXELS} pixels")


def _png_size(data: memoryview) -> tuple[int, int]:
    """Return height and width out of IHDR, which PNG demands to be the first chunk."""
    if len(data) < 24 or bytes(data[12:16]) != b"IHDR":
        raise ImageError("image is a damaged PNG: it ends, or has no IHDR chunk, where its size should be")
    width, height = struct.unpack(">II", data[16:24])
    return height, width


def _jpeg_size(data: memoryview) -> tuple[int, int]:
    """Return height and width out of the frame header (ITU T.81, B.2.2), once the markers lead to the end of the image.

    The decoder loses the memory of its output where the data runs out, or where something else than the end of the
    image follows a scan that has all components, so neither may reach it.
    """
    at = 2
    size: tuple[int, int] | None = None
    complete, scans = False, 0
    for _ in range(MAX_SEGMENTS):
        found = MARKER.search(data, at)
        if not found:
            break
        at = found.start()
        marker = data[at + 1]
        if marker == END_OF_IMAGE:
            if size:
                return size
            raise ImageError("image is a damaged JPEG: no frame header was found in it")
        if complete:
            raise ImageError(f"image is a damaged JPEG: marker FF {marker:02X} stands inside its scan, at byte {at}")
        if at + 10 > len(data):
            break
        if marker in START_OF_FRAME:
            if size:  # one decoder may believe the first, another the second
                raise ImageError(f"image is a damaged JPEG: it has a second frame header, at byte {at}")
            size = struct.unpack_from(">HH", data, at + 5)
            sequential, components = marker in SEQUENTIAL, data[at + 9]
        elif marker == START_OF_SCAN and size:
            complete = sequential and data[at + 4] == components
            scans += 1
            if scans > MAX_SCANS:
                raise ImageError(f"image has more than {MAX_SCANS} scans: save the JPEG with fewer, or as baseline")
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    raise ImageError(f"image is a JPEG that ends early: {len(data)} bytes, no end-of-image marker behind its scan")
