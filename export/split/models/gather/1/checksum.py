"""The checksum of a request for the features of a frame: clients make it, the server compares it."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

_NUMBERS = struct.Struct("<3q?2iI")  # session, number, base, key, image size, checksum of the features


def checksum_of(
    stream: bytes,
    numbers: tuple[int, int, int],
    key: bool,
    image_size: tuple[int, int],
    network: bytes,
    features: int,
    coded: npt.NDArray[np.uint8],
) -> int:
    """Return the CRC-32 of a request, which covers all that its answer depends on.

    Args:
        stream: name of the stream.
        numbers: session, number, base.
        key: whether it is a key frame.
        image_size: height and width of the frame, in pixels.
        network: what tells the network from others.
        features: CRC-32 of the features that the request leads to.
        coded: uint8 [n], as it is sent.
    """
    sum_ = zlib.crc32(_NUMBERS.pack(*numbers, key, *image_size, features))
    for part in (stream, network, np.ascontiguousarray(coded)):
        sum_ = zlib.crc32(part, sum_)  # type: ignore[arg-type]  # arrays are buffers
    return sum_
