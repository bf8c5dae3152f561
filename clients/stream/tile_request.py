"""The request for a frame of a stream, as the ensemble detect_tiles takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from triton_yolo.assemble.checksum import checksum_of
from triton_yolo.clients.request import Pixels, Request
from triton_yolo.clients.stream.encoder import NO_BASE, Place

MODEL, MEMORY = "detect_tiles", "assemble"  # the ensemble, and its step that keeps the frames
NO_TILES, NO_CODE = np.empty((0, 0, 0, 3), np.uint8), np.empty(0, np.uint8)
KEY_POSITION = np.zeros((1, 2), np.int32)


@dataclass(frozen=True)
class Content:
    """What changed.

    Attributes:
        positions: int32 [N, 2], row and column in the frame of each tile's first pixel.
        tiles: uint8 [N, h, w, 3] RGB; NO_TILES where they are coded.
        coded: uint8 [n], a JPEG or PNG of the tiles below each other; NO_CODE where they are not.
    """

    positions: npt.NDArray[np.int32]
    tiles: Pixels = field(default_factory=lambda: NO_TILES)
    coded: Pixels = field(default_factory=lambda: NO_CODE)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return self.positions.nbytes + self.tiles.nbytes + self.coded.nbytes


def tile_request(place: Place, content: Content, parameters: Mapping[str, float | int], model: str = MODEL) -> Request:
    """Return the request for a frame.

    Args:
        place: where it stands in its stream.
        content: what changed.
        parameters: of the request.
        model: that takes it.
    """
    name = place.stream.encode()
    numbers, key = (place.session, place.number, place.base), place.base == NO_BASE
    checksum = checksum_of(name, numbers, key, content.positions, content.tiles, content.coded)
    others: dict[str, npt.NDArray[Any]] = {
        "coded": content.coded[None],
        "positions": content.positions[None],
        "stream": np.frombuffer(name, np.uint8)[None],
        "numbers": np.array([numbers], np.int64),
        "key": np.array([[key]]),
        "checksum": np.array([[checksum]], np.uint32),
    }
    return Request(model, "tiles", content.tiles[None], parameters, others=others, stream=place.stream)
