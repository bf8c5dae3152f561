"""What can be told of an encoded image without decoding it: its format, its size, whether it is whole."""

from __future__ import annotations

import struct

MAX_PIXELS = 1 << 26  # 8192 x 8192: 200 MB decoded; a header that claims more is refused before any memory is taken

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
# Start-of-frame markers; C4, C8 and CC are tables and an extension (ITU T.81, table B.1).
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers without a length: TEM and the restart markers.
STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
START_OF_SCAN = 0xDA
END_OF_IMAGE = b"\xff\xd9"
# The JPEG decoder loses the memory of its output when the data runs out. A segment may claim 65,535 bytes, so this many
# end-of-image markers behind every JPEG stop it wherever damage sends it.
JPEG_GUARD = END_OF_IMAGE * 33_000


class ImageError(ValueError):
    """The bytes are no image that this server decodes."""


def checked_image(data: memoryview) -> memoryview:
    """Refuse what is no whole JPEG or PNG, or claims more than MAX_PIXELS, without decoding it.

    Args:
        data: the encoded image.

    Returns:
        what to hand to the decoder.

    Raises:
        ImageError: says what was found and what is expected.
    """
    if not len(data):
        raise ImageError("image is empty; send the bytes of one JPEG or PNG")
    start = bytes(data[:8])
    if start == PNG:
        size = _png_size(data)
    elif start[:3] == JPEG:
        content = bytes(data)
        size = _jpeg_size(content)
        data = memoryview(content + JPEG_GUARD)
    else:
        raise ImageError(f"image is neither JPEG nor PNG: its first bytes are {start.hex(' ')}")
    height, width = size
    if height < 1 or width < 1:
        raise ImageError(f"image has no pixels: its header says {width}x{height}")
    if height * width > MAX_PIXELS:
        raise ImageError(f"image is too large: its header says {width}x{height}, the limit is {MAX_PIXELS} pixels")
    return data


def _png_size(data: memoryview) -> tuple[int, int]:
    """Height and width out of IHDR, which PNG demands to be the first chunk."""
    if len(data) < 24 or bytes(data[12:16]) != b"IHDR":
        raise ImageError("image is a damaged PNG: it ends, or has no IHDR chunk, where its size should be")
    width, height = struct.unpack(">II", data[16:24])
    return height, width


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Height and width out of the frame header (ITU T.81, B.2.2), once the end of the scan is there too."""
    at, end, size = 2, len(data), None
    while at + 4 <= end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in STANDALONE:
            at += 2
        elif marker == START_OF_SCAN:
            if size and data.rfind(END_OF_IMAGE) > at:
                return size
            break
        else:
            if marker in START_OF_FRAME and at + 9 <= end:
                size = struct.unpack(">HH", data[at + 5 : at + 9])
            at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    if size:
        raise ImageError(f"image is a JPEG that ends early: {end} bytes, no end-of-image marker behind its scan")
    raise ImageError("image is a damaged JPEG: no frame header was found in it")
