"""The checksum of a request for a frame of a stream: clients make it, the server compares it."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

_NUMBERS = struct.Struct("<3q?4q")  # session, number, base, key, shape of the tiles


def checksum_of(
    stream: bytes,
    numbers: tuple[int, int, int],
    key: bool,
    positions: npt.NDArray[np.int32],
    tiles: npt.NDArray[np.uint8],
    coded: npt.NDArray[np.uint8],
) -> int:
    """Return the CRC-32 of a request, which covers all that the frame depends on.

    A damaged JPEG may well decode, and a number that was changed on its way may fit; neither has this checksum.

    Args:
        stream: name of the stream.
        numbers: session, number, base.
        key: whether it is a key frame.
        positions: int32 [N, 2].
        tiles: uint8 [N, h, w, 3], as they are sent.
        coded: uint8 [n], as it is sent.
    """
    sum_ = zlib.crc32(_NUMBERS.pack(*numbers, key, *tiles.shape))
    for part in (stream, np.ascontiguousarray(positions, "<i4"), np.ascontiguousarray(tiles), coded):
        sum_ = zlib.crc32(part, sum_)  # type: ignore[arg-type]  # arrays are buffers
    return sum_
