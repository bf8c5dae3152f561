"""Frames of a camera as what has changed since the server got the last one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.request import Pixels, Request
from triton_yolo.clients.stream.changes import Changes, Mask, boxes_of
from triton_yolo.clients.stream.costs import Costs, Kind
from triton_yolo.clients.stream.encoder import KEY_INTERVAL, MOST_NOISE, Encoded, Place, StreamEncoder
from triton_yolo.clients.stream.tile_request import KEY_POSITION, MEMORY, Content, tile_request

SIDE, QUALITY = 64, 90
SIDES = range(16, 513, 16)  # a JPEG codes squares of 16 pixels: none has pixels of two tiles
WHOLE = (Kind.CODED_FRAME, Kind.RAW_FRAME)
ANY = (*WHOLE, Kind.RAW_TILES, Kind.CODED_TILES)
LARGEST = 65_500  # pixels of a JPEG's side


class TileEncoder(StreamEncoder):
    """Sends the tiles that have changed, or the whole frame: whatever is cheapest."""

    def __init__(
        self,
        stream: str,
        *,
        side: int = SIDE,
        quality: int | None = QUALITY,
        key_interval: int = KEY_INTERVAL,
        most_noise: float = MOST_NOISE,
        link_mbits: float | None = None,
    ) -> None:
        """Begin; the first frame is a key frame.

        Args:
            stream: name of the stream on the server.
            side: of a tile, in pixels, a multiple of 16.
            quality: of JPEGs, 1..100; None for pixels without loss, as they are or as PNG.
            key_interval: frames from one key frame to the next.
            most_noise: the largest deviation of a pixel that is taken for the sensor's noise, in grey levels.
            link_mbits: bandwidth of the link to the server, in Mbit/s; None measures it.

        Raises:
            DetectionError: an argument is out of range.
        """
        super().__init__(stream, side, key_interval, most_noise)
        if side not in SIDES:
            raise DetectionError(f"side must be a multiple of 16 from {SIDES[0]} to {SIDES[-1]}, got {side}")
        if quality is not None and not 1 <= quality <= 100:
            raise DetectionError(f"quality must be from 1 to 100, or None for pixels without loss; got {quality}")
        if link_mbits is not None and not link_mbits > 0:
            raise DetectionError(f"link_mbits must be above 0 Mbit/s, got {link_mbits}")
        self._suffix, self._options = _coding(quality)
        self._costs, self._may_code = Costs(link_mbits), True

    def cannot_decode(self) -> None:
        """Code nothing any more: the server has no decoder."""
        self._may_code = False

    def answered(self, encoded: Encoded, seconds: float) -> None:
        """See StreamEncoder."""
        super().answered(encoded, seconds)
        if encoded.place is not None:
            self._costs.answered(encoded.kind, encoded.pixels, encoded.nbytes, seconds)

    def request(self, encoded: Encoded, parameters: Mapping[str, float | int]) -> Request:
        """See StreamEncoder."""
        assert encoded.place
        return tile_request(encoded.place, encoded.content, parameters)

    def forget_request(self, parameters: Mapping[str, float | int]) -> Request:
        """See StreamEncoder."""
        return tile_request(Place(self.stream, self.session, 0), Content(KEY_POSITION[:0]), parameters, MEMORY)

    def _change(self, frame: Pixels, changed: Mask, changes: Changes) -> Encoded:
        grid, pixels, count = changes.grid, frame.shape[0] * frame.shape[1], int(np.count_nonzero(changed))
        height, width = grid.tile_shape
        kinds = ANY if count * height <= LARGEST else (*WHOLE, Kind.RAW_TILES)
        kind = self._costs.cheapest(count * height * width, pixels, self._possible(kinds))
        if kind.whole:
            return self._whole(frame, kind, changes)
        positions = grid.positions(changed)
        tiles = grid.cut(frame, positions)
        changes.sent(frame, changed)
        return self._packed(kind, tiles, positions, self._next_place())

    def _key_frame(self, frame: Pixels, changes: Changes) -> Encoded:
        pixels = frame.shape[0] * frame.shape[1]
        return self._whole(frame, self._costs.cheapest(pixels, pixels, self._possible(WHOLE)), changes)

    def _possible(self, kinds: Iterable[Kind]) -> list[Kind]:
        return [kind for kind in kinds if self._may_code or not kind.coded]

    def _whole(self, frame: Pixels, kind: Kind, changes: Changes) -> Encoded:
        changes.sent(frame)
        tiles = (np.ascontiguousarray(frame) if kind.coded else frame.copy())[None]
        return self._packed(kind, tiles, KEY_POSITION, self._key_place())

    def _packed(self, kind: Kind, tiles: Pixels, positions: npt.NDArray[np.int32], place: Place) -> Encoded:
        pixels = tiles[..., 0].size
        content = Content(positions, tiles)
        if kind.coded:
            start = time.perf_counter()
            content = Content(positions, coded=coded(tiles, self._suffix, self._options))
            self._costs.coded(kind, pixels, content.nbytes, time.perf_counter() - start)
        return Encoded(place.number, kind, pixels, place, content, boxes_of(positions, tiles.shape[1:3]))


def coded(tiles: Pixels, suffix: str, options: list[int]) -> Pixels:
    """Return tiles as the bytes of one picture of them below each other, uint8 [n].

    Args:
        tiles: uint8 [N, h, w, 3] RGB.
        suffix: ".jpg" or ".png".
        options: of OpenCV's encoder.
    """
    picture = cv2.cvtColor(tiles.reshape(-1, *tiles.shape[2:]), cv2.COLOR_RGB2BGR)
    found: Any = cv2.imencode(suffix, picture, options)[1]
    return np.asarray(found, np.uint8).reshape(-1)


def _coding(quality: int | None) -> tuple[str, list[int]]:
    """Return suffix and options of OpenCV's encoder."""
    if quality is None:
        return ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]
    return ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality]
