"""Frames of a camera as how their features have changed since the server got the last ones."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.request import Pixels, Request
from triton_yolo.clients.stream.changes import Changes, Mask, boxes_of
from triton_yolo.clients.stream.costs import Kind
from triton_yolo.clients.stream.edge import Edge, Features
from triton_yolo.clients.stream.encoder import KEY_INTERVAL, MOST_NOISE, Encoded, Place, StreamEncoder
from triton_yolo.clients.stream.feature_request import MEMORY, FeatureContent, feature_request
from triton_yolo.gather.codes import HAS_ZSTD, encoded, packed

SIDE = 32  # of the tiles in which changes are looked for: each makes the features around it new
TOLERANCE = 1  # steps of INT8
NOTHING = np.empty(0, np.uint8)


class FeatureEncoder(StreamEncoder):
    """Sends the differences of a network's features, or all of them, whichever are fewer bytes.

    The half of the network runs on what was sent of each tile last, with the tiles that have changed put in: so noise
    makes no differences, and a scene that stands still costs neither bytes nor a run. The server's features are known
    to the last bit, since differences are whole numbers that it adds up modulo 256. A feature that differs from the
    server's by the tolerance or less is not sent, but stays to be compared, so that small differences never add up.
    """

    def __init__(
        self,
        stream: str,
        edge: Edge,
        *,
        tolerance: int = TOLERANCE,
        key_interval: int = KEY_INTERVAL,
        most_noise: float = MOST_NOISE,
    ) -> None:
        """Begin; the first frame is a key frame.

        Args:
            stream: name of the stream on the server.
            edge: the half of the network.
            tolerance: steps of INT8 by which the server's features may differ; 0 sends each difference.
            key_interval: frames from one key frame to the next.
            most_noise: the largest deviation of a pixel that is taken for the sensor's noise, in grey levels.

        Raises:
            DetectionError: an argument is out of range.
        """
        super().__init__(stream, SIDE, key_interval, most_noise)
        if not 0 <= tolerance <= 127:
            raise DetectionError(f"tolerance must be from 0 to 127 steps of INT8, got {tolerance}")
        self._edge, self._tolerance, self._zstd = edge, tolerance, HAS_ZSTD
        self._theirs: Features = np.zeros(edge.length, np.int8)  # what the server has
        self._whole_bytes = 0  # of the last features that were coded whole

    def cannot_decode(self) -> None:
        """Code with zlib from now on: the server has no zstandard."""
        self._zstd = False

    def request(self, encoded: Encoded, parameters: Mapping[str, float | int]) -> Request:
        """See StreamEncoder."""
        assert encoded.place
        return feature_request(encoded.place, encoded.content, parameters)

    def forget_request(self, parameters: Mapping[str, float | int]) -> Request:
        """See StreamEncoder."""
        content = FeatureContent(NOTHING, 0, (0, 0), self._edge.proof.network)
        return feature_request(Place(self.stream, self.session, 0), content, parameters, MEMORY)

    def _change(self, frame: Pixels, changed: Mask, changes: Changes) -> Encoded:
        changes.sent(frame, changed)
        features = self._edge.features(changes.kept)
        apart = np.abs(np.subtract(features, self._theirs, dtype=np.int16))
        near = np.where(apart > self._tolerance, features, self._theirs)
        coded = self._coded(packed(near, self._theirs))
        if len(coded) > self._whole_bytes:  # it moves everywhere
            whole = self._coded(features.tobytes())
            self._whole_bytes = len(whole)
            if len(whole) <= len(coded):
                return self._as_key_frame(features, whole, changes)
        boxes = boxes_of(changes.grid.positions(changed), changes.grid.tile_shape)
        return self._packed(Kind.DIFFERENCES, near, coded, self._next_place(), changes, boxes)

    def _key_frame(self, frame: Pixels, changes: Changes) -> Encoded:
        changes.sent(frame)
        features = self._edge.features(frame)
        whole = self._coded(features.tobytes())
        self._whole_bytes = len(whole)
        return self._as_key_frame(features, whole, changes)

    def _as_key_frame(self, features: Features, whole: bytes, changes: Changes) -> Encoded:
        boxes = np.array([[0, 0, changes.grid.width, changes.grid.height]], np.int32)
        return self._packed(Kind.FEATURES, features, whole, self._key_place(), changes, boxes)

    def _coded(self, content: bytes) -> bytes:
        return encoded(content, self._zstd)

    def _packed(
        self, kind: Kind, features: Features, coded: bytes, place: Place, changes: Changes, boxes: npt.NDArray[np.int32]
    ) -> Encoded:
        self._theirs = features
        size = changes.grid.height, changes.grid.width
        content = FeatureContent(
            np.frombuffer(coded, np.uint8), zlib.crc32(features.data), size, self._edge.proof.network
        )
        return Encoded(place.number, kind, 0, place, content, boxes)
