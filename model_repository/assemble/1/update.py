"""What a request says of a frame: the tiles that changed, and the frame that they changed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .checksum import checksum_of
from .codes import decoded
from .errors import TileError

NAME_BYTES = 256  # of a stream's name, at most
MAX_SIDE = 1 << 15  # of a frame, in pixels


@dataclass(frozen=True)
class Update:
    """A frame of a stream, as far as it differs from an earlier one.

    Attributes:
        stream: name of the stream, UTF-8.
        session: drawn by the client for each key frame; tells chains of frames apart that have the same numbers.
        number: of the frame, 0 or more.
        base: number of the frame that it builds on; -1 for a key frame.
        key: whether it builds on none: one tile, which is the whole frame.
        tiles: uint8 [N, h, w, 3] RGB.
        positions: int32 [N, 2], row and column in the frame of each tile's first pixel.
    """

    stream: bytes
    session: int
    number: int
    base: int
    key: bool
    tiles: npt.NDArray[np.uint8]
    positions: npt.NDArray[np.int32]


def read_update(
    tiles: npt.NDArray[np.uint8],
    coded: npt.NDArray[np.uint8],
    positions: npt.NDArray[np.int32],
    stream: npt.NDArray[np.uint8],
    numbers: npt.NDArray[np.int64],
    key: npt.NDArray[np.bool_],
    checksum: npt.NDArray[np.uint32],
) -> Update:
    """Check the inputs of a request, and decode its tiles.

    Args:
        tiles: uint8 [1, N, h, w, 3]; empty where they are coded.
        coded: uint8 [1, n], a JPEG or PNG of the tiles below each other, [N * h, w]; empty where they are not coded.
        positions: int32 [1, N, 2].
        stream: uint8 [1, n], the stream's name.
        numbers: int64 [1, 3]: session, number, base.
        key: bool [1, 1].
        checksum: uint32 [1, 1], what ``checksum_of`` returns.

    Raises:
        TileError: says which input is wrong, and what is expected.
    """
    if len(tiles) != 1:
        raise TileError(f"a request has one frame of one stream, got a batch of {len(tiles)}")
    name, is_key = stream[0].tobytes(), bool(key[0, 0])
    session, number, base = numbers[0].tolist()
    sound = checksum_of(name, (session, number, base), is_key, positions[0], tiles[0], coded[0])
    if sound != int(checksum[0, 0]):
        raise TileError(f"checksum is {int(checksum[0, 0])}, and what arrived has {sound}: it was damaged on its way")
    if not 1 <= len(name) <= NAME_BYTES:
        raise TileError(f"stream must be a name of 1 to {NAME_BYTES} bytes, got {len(name)}")
    if number < 0 or (base != -1 if is_key else not 0 <= base < number):
        wanted = "-1 for a key frame" if is_key else "0 or more and below the number"
        raise TileError(f"numbers must be session, number of 0 or more, and base, {wanted}; got {[number, base]}")
    places = positions[0]
    pixels = _tiles(tiles[0], coded[0], len(places))
    if not len(places):
        raise TileError("positions is empty: a frame without a change needs no request")
    if is_key and (len(places) != 1 or places.any()):
        raise TileError(
            f"a key frame is one tile at position 0, 0; got {len(places)} tiles, first {places[0].tolist()}"
        )
    if max(pixels.shape[1:3]) > MAX_SIDE or not pixels.size:
        raise TileError(f"tiles must have sides of 1 to {MAX_SIDE} pixels, got {list(pixels.shape[1:3])}")
    return Update(name, session, number, base, is_key, pixels, places)


def _tiles(tiles: npt.NDArray[np.uint8], coded: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint8]:
    """Return the tiles as pixels uint8 [N, h, w, 3], however they came."""
    if bool(tiles.size) == bool(coded.size):
        raise TileError(
            f"tiles or coded must be empty and the other not; they have {tiles.size} and {coded.size} bytes"
        )
    if tiles.size:
        if len(tiles) != count:
            raise TileError(f"tiles and positions must be as many; got {len(tiles)} and {count}")
        return tiles
    picture: npt.NDArray[Any] = decoded(coded)
    height, width = picture.shape[:2]
    if not count or height % count:
        raise TileError(f"coded must be as high as its {count} tiles of one height; its picture is {width}x{height}")
    return picture.reshape(count, height // count, width, 3)
