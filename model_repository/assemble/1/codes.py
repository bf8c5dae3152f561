"""Tiles that come as one JPEG or PNG."""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import BadUpdate, NoDecoder

try:
    import cv2
except ImportError:  # a server without it takes pixels alone
    cv2 = None  # type: ignore[assignment]

MAX_PIXELS = 1 << 26  # as of images: a header that claims more is refused before any memory is taken
MAX_SCANS = 100  # of a JPEG, as of images
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
# A frame header of a sequential or progressive JPEG: its marker, length, precision, height, width (ITU T.81, B.2.2).
SEGMENT = re.compile(rb"\xff[^\x00\x01\xd0-\xd9\xff]")
FRAME_HEADERS = frozenset({0xC0, 0xC1, 0xC2})
START_OF_SCAN = 0xDA
SCAN = bytes((0xFF, START_OF_SCAN))
ENDS = (b"\xff\xd9", b"IEND\xaeB`\x82")  # of a JPEG and a PNG; decoders make grey pixels of what is missing


def decoded(coded: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Decode a picture.

    Args:
        coded: uint8 [n], the bytes of one JPEG or PNG.

    Returns:
        its pixels uint8 [height, width, 3] RGB, as they lie in the file: an EXIF orientation is not looked at.

    Raises:
        BadUpdate: it is no such picture, or is damaged or too large.
        NoDecoder: nothing here decodes it.
    """
    data = coded.tobytes()
    height, width = size_of(data)
    if height * width > MAX_PIXELS or not height * width:
        raise BadUpdate(f"coded must have from 1 to {MAX_PIXELS} pixels; its header says {width}x{height}")
    if data.startswith(JPEG) and data.count(SCAN) > MAX_SCANS:
        raise BadUpdate(f"coded has more than {MAX_SCANS} scans: save the JPEG with fewer, or as baseline")
    if not data.endswith(ENDS):
        raise BadUpdate(f"coded ends early: {len(data)} bytes, and the last are no end of a JPEG or PNG")
    if cv2 is None:
        raise NoDecoder("this server has no OpenCV, send pixels")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture: Any = cv2.imdecode(coded, flags)
    except cv2.error as error:
        raise BadUpdate(f"coded is damaged: {error.err}") from None
    if picture is None or picture.shape != (height, width, 3):
        raise BadUpdate("coded is damaged: OpenCV cannot decode it")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def size_of(coded: bytes) -> tuple[int, int]:
    """Return height and width of a JPEG or PNG, from its header.

    Args:
        coded: its bytes.

    Raises:
        BadUpdate: there is no such header.
    """
    if coded.startswith(PNG) and coded[12:16] == b"IHDR" and len(coded) >= 24:
        width, height = struct.unpack_from(">II", coded, 16)
        return height, width
    if coded.startswith(JPEG):
        at = 2
        while (found := SEGMENT.match(coded, at)) and len(coded) >= at + 9 and coded[at + 1] != START_OF_SCAN:
            if coded[at + 1] in FRAME_HEADERS:
                height, width = struct.unpack_from(">HH", coded, at + 5)
                return height, width
            at = found.end() + struct.unpack_from(">H", coded, at + 2)[0]
    raise BadUpdate(f"coded must be one JPEG or PNG; its first bytes are {coded[:8].hex(' ') or 'none'}")
