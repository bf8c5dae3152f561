"""Frames of a camera as what has changed since the server got the last one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.memory.frames import check_pixels
from triton_yolo.clients.request import Pixels
from triton_yolo.clients.stream.changes import Changes, Grid
from triton_yolo.clients.stream.costs import Costs, Kind
from triton_yolo.clients.stream.tile_request import KEY_POSITION, NO_BASE, Content, Place

SIDE, QUALITY, KEY_INTERVAL, MOST_NOISE = 64, 90, 1800, 4.0
SIDES = range(16, 513, 16)  # a JPEG codes squares of 16 pixels: none has pixels of two tiles
WHOLE = (Kind.CODED_FRAME, Kind.RAW_FRAME)
ANY = (*WHOLE, Kind.RAW_TILES, Kind.CODED_TILES)
LARGEST = 65_500  # pixels of a JPEG's side


@dataclass(frozen=True)
class Encoded:
    """How a frame is sent.

    Attributes:
        number: of the frame in its stream, from 0 on.
        kind: nothing, tiles or the whole frame.
        pixels: that are sent.
        place: where it stands in its stream; None if nothing is sent.
        content: what is sent; None if nothing is.
        shape: height and width of each tile that is sent, or of the whole frame.
    """

    number: int
    kind: Kind
    pixels: int = 0
    place: Place | None = None
    content: Content | None = None
    shape: tuple[int, int] = (0, 0)

    @property
    def nbytes(self) -> int:
        """Bytes of what is sent, without the protocol's own."""
        return self.content.nbytes if self.content else 0

    @property
    def boxes(self) -> npt.NDArray[np.int32]:
        """What is sent of the frame: int32 [N, 4], x1, y1, x2, y2 in pixels."""
        if self.content is None:
            return np.empty((0, 4), np.int32)
        (y, x), (height, width) = self.content.positions.T, self.shape
        return np.stack([x, y, x + width, y + height], axis=1)


class TileEncoder:
    """The frames of one stream, one after the other.

    After ``encode`` comes either ``answered`` or ``failed``, before the next frame: what a frame builds on is one that
    the server has answered.
    """

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
        if not 1 <= len(stream.encode()) <= 256:
            raise DetectionError(f"the name of a stream has 1 to 256 bytes; got {stream!r}")
        if side not in SIDES:
            raise DetectionError(f"side must be a multiple of 16 from {SIDES[0]} to {SIDES[-1]}, got {side}")
        if quality is not None and not 1 <= quality <= 100:
            raise DetectionError(f"quality must be from 1 to 100, or None for pixels without loss; got {quality}")
        if key_interval < 1:
            raise DetectionError(f"key_interval must be 1 frame or more, got {key_interval}")
        if not most_noise >= 0:
            raise DetectionError(f"most_noise must be 0 grey levels or more, got {most_noise}")
        if link_mbits is not None and not link_mbits > 0:
            raise DetectionError(f"link_mbits must be above 0 Mbit/s, got {link_mbits}")
        self.stream = stream
        self._side, self._key_interval, self._most_noise = side, key_interval, most_noise
        self._suffix, self._options = _coding(quality)
        self._costs = Costs(link_mbits)
        self._changes: Changes | None = None
        self._session, self._may_code = 0, True
        self._number, self._base, self._key = (
            -1,
            NO_BASE,
            NO_BASE,
        )  # of the last frame, the last sent, the last key frame

    @property
    def session(self) -> int:
        """The session of the last key frame."""
        return self._session

    @property
    def base(self) -> int:
        """Number of the frame that the server has; -1 if it is to get a key frame."""
        return self._base

    @property
    def noise(self) -> float:
        """The sensor's noise, in grey levels of a pixel; 0 while nothing is known of it."""
        return self._changes.noise.deviation if self._changes else 0.0

    def send_pixels_alone(self) -> None:
        """Code nothing any more: the server has no decoder."""
        self._may_code = False

    def want_key_frame(self) -> None:
        """Make the next frame a key frame."""
        self._base = NO_BASE

    def encode(self, frame: Pixels) -> Encoded:
        """Return how to send the next frame of the stream.

        Args:
            frame: uint8 [H, W, 3] RGB; not changed, and not kept.

        Raises:
            DetectionError: it is no such frame.
        """
        check_pixels(frame, "[H, W, 3]")
        if not frame.size:
            raise DetectionError(f"a frame has pixels; got {list(frame.shape)}")
        self._number += 1
        return self._encode(frame)

    def encode_again(self, frame: Pixels) -> Encoded:
        """Return how to send the frame of the last call as a key frame, since the server wants one.

        Args:
            frame: the same.
        """
        self.want_key_frame()
        return self._key_frame(frame)

    def answered(self, encoded: Encoded, seconds: float) -> None:
        """Learn that the server has a frame.

        Args:
            encoded: how it was sent.
            seconds: from sending it to the answer.
        """
        if encoded.place is None:
            return
        self._base = encoded.number
        self._costs.answered(encoded.kind, encoded.pixels, encoded.nbytes, seconds)

    def failed(self) -> None:
        """Learn that the server may or may not have the frame: the next one is a key frame."""
        self.want_key_frame()

    def _encode(self, frame: Pixels) -> Encoded:
        grid = Grid(frame.shape[0], frame.shape[1], self._side)
        if self._changes is None or self._changes.grid != grid:
            self._changes = Changes(grid, self._most_noise)
            self.want_key_frame()
        changed, pixels = self._changes.look(frame), frame.shape[0] * frame.shape[1]
        if self._base == NO_BASE or self._number - self._key >= self._key_interval:
            return self._key_frame(frame)
        count = int(np.count_nonzero(changed))
        if not count:
            return Encoded(self._number, Kind.NOTHING)
        height, width = grid.tile_shape
        kinds = ANY if count * height <= LARGEST else (*WHOLE, Kind.RAW_TILES)
        kind = self._costs.cheapest(count * height * width, pixels, self._possible(kinds))
        if kind.whole:
            return self._whole(frame, kind)
        positions = grid.positions(changed)
        tiles = grid.cut(frame, positions)
        self._changes.sent(frame, changed)
        return self._packed(kind, tiles, positions, Place(self.stream, self._session, self._number, self._base))

    def _key_frame(self, frame: Pixels) -> Encoded:
        """Return how to send the frame that was looked at last as a whole."""
        pixels = frame.shape[0] * frame.shape[1]
        return self._whole(frame, self._costs.cheapest(pixels, pixels, self._possible(WHOLE)))

    def _possible(self, kinds: Iterable[Kind]) -> list[Kind]:
        return [kind for kind in kinds if self._may_code or not kind.coded]

    def _whole(self, frame: Pixels, kind: Kind) -> Encoded:
        assert self._changes
        self._session, self._key = secrets.randbits(63), self._number
        self._changes.sent(frame)
        tiles = (np.ascontiguousarray(frame) if kind.coded else frame.copy())[None]
        return self._packed(kind, tiles, KEY_POSITION, Place(self.stream, self._session, self._number))

    def _packed(self, kind: Kind, tiles: Pixels, positions: npt.NDArray[np.int32], place: Place) -> Encoded:
        pixels = tiles[..., 0].size
        content = Content(positions, tiles)
        if kind.coded:
            start = time.perf_counter()
            content = Content(positions, coded=coded(tiles, self._suffix, self._options))
            self._costs.coded(kind, pixels, content.nbytes, time.perf_counter() - start)
        return Encoded(place.number, kind, pixels, place, content, (tiles.shape[1], tiles.shape[2]))


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
