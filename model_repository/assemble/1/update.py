"""What a request says of a frame: the tiles that changed, and the frame that they changed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .checksum import checksum_of
from .codes import decoded
from .errors import BadUpdate
from .streams import Place, Update

MAX_SIDE = 1 << 15  # of a frame, in pixels


@dataclass(frozen=True)
class TilesUpdate(Update):
    """The tiles of a frame that changed; of a key frame one, which is the whole frame.

    Attributes:
        place: where it stands.
        tiles: uint8 [N, h, w, 3] RGB.
        positions: int32 [N, 2], row and column in the frame of each tile's first pixel.
    """

    place: Place
    tiles: npt.NDArray[np.uint8]
    positions: npt.NDArray[np.int32]

    @property
    def nbytes(self) -> int:
        """Bytes of the frame."""
        return self.tiles.nbytes

    def whole(self) -> npt.NDArray[np.uint8]:
        """Return the frame uint8 [H, W, 3]: a copy, since the tiles lie in the request's memory."""
        frame: npt.NDArray[np.uint8] = self.tiles[0].copy()
        return frame

    def onto(self, kept: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Write the tiles into a frame uint8 [H, W, 3], and return it.

        Raises:
            BadUpdate: a tile lies outside of the frame.
        """
        height, width = self.tiles.shape[1:3]
        room = np.array(kept.shape[:2]) - (height, width)
        outside = ((self.positions < 0) | (self.positions > room)).any(axis=1)
        if outside.any():
            raise BadUpdate(
                f"positions must lie so that tiles of {height}x{width} are inside the frame of "
                f"{kept.shape[0]}x{kept.shape[1]}; got {self.positions[outside][0].tolist()}"
            )
        for tile, (row, column) in zip(self.tiles, self.positions.tolist(), strict=True):
            kept[row : row + height, column : column + width] = tile
        return kept


def read_update(
    tiles: npt.NDArray[np.uint8],
    coded: npt.NDArray[np.uint8],
    positions: npt.NDArray[np.int32],
    stream: npt.NDArray[np.uint8],
    numbers: npt.NDArray[np.int64],
    key: npt.NDArray[np.bool_],
    checksum: npt.NDArray[np.uint32],
) -> TilesUpdate:
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
        BadUpdate: says which input is wrong, and what is expected.
    """
    if len(tiles) != 1:
        raise BadUpdate(f"a request has one frame of one stream, got a batch of {len(tiles)}")
    session, number, base = numbers[0].tolist()
    place = Place(stream[0].tobytes(), session, number, base, bool(key[0, 0]))
    sound = checksum_of(place.stream, (session, number, base), place.key, positions[0], tiles[0], coded[0])
    if sound != int(checksum[0, 0]):
        raise BadUpdate(f"checksum is {int(checksum[0, 0])}, and what arrived has {sound}: it was damaged on its way")
    place.check()
    places = positions[0]
    pixels = _tiles(tiles[0], coded[0], len(places))
    if not len(places):
        raise BadUpdate("positions is empty: a frame without a change needs no request")
    if place.key and (len(places) != 1 or places.any()):
        raise BadUpdate(
            f"a key frame is one tile at position 0, 0; got {len(places)} tiles, first {places[0].tolist()}"
        )
    if max(pixels.shape[1:3]) > MAX_SIDE or not pixels.size:
        raise BadUpdate(f"tiles must have sides of 1 to {MAX_SIDE} pixels, got {list(pixels.shape[1:3])}")
    return TilesUpdate(place, pixels, places)


def _tiles(tiles: npt.NDArray[np.uint8], coded: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint8]:
    """Return the tiles as pixels uint8 [N, h, w, 3], however they came."""
    if bool(tiles.size) == bool(coded.size):
        raise BadUpdate(
            f"tiles or coded must be empty and the other not; they have {tiles.size} and {coded.size} bytes"
        )
    if tiles.size:
        if len(tiles) != count:
            raise BadUpdate(f"tiles and positions must be as many; got {len(tiles)} and {count}")
        return tiles
    picture: npt.NDArray[Any] = decoded(coded)
    height, width = picture.shape[:2]
    if not count or height % count:
        raise BadUpdate(f"coded must be as high as its {count} tiles of one height; its picture is {width}x{height}")
    return picture.reshape(count, height // count, width, 3)
