"""The request for the features of a frame, as the ensemble detect_features takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.request import Request
from triton_yolo.clients.stream.encoder import NO_BASE, Place
from triton_yolo.gather.checksum import checksum_of

MODEL, MEMORY = "detect_features", "gather"  # the ensemble, and its step that keeps the features


@dataclass(frozen=True)
class FeatureContent:
    """How features differ from those that the server has.

    Attributes:
        coded: uint8 [n], the code of gather's ``codes.packed``, or of the features of a key frame.
        checksum: CRC-32 of the features that come out.
        image_size: height and width of the frame, in pixels.
        network: what tells the network from others.
    """

    coded: npt.NDArray[np.uint8]
    checksum: int
    image_size: tuple[int, int]
    network: str

    @property
    def nbytes(self) -> int:
        """Bytes of the features' code."""
        return self.coded.nbytes


def feature_request(
    place: Place, content: FeatureContent, parameters: Mapping[str, float | int], model: str = MODEL
) -> Request:
    """Return the request for a frame.

    Args:
        place: where it stands in its stream.
        content: how its features differ.
        parameters: of the request.
        model: that takes it.
    """
    name, network = place.stream.encode(), content.network.encode()
    numbers, key = (place.session, place.number, place.base), place.base == NO_BASE
    sound = checksum_of(name, numbers, key, content.image_size, network, content.checksum, content.coded)
    others: dict[str, npt.NDArray[Any]] = {
        "stream": np.frombuffer(name, np.uint8)[None],
        "numbers": np.array([numbers], np.int64),
        "key": np.array([[key]]),
        "image_size": np.array([content.image_size], np.int32),
        "network": np.frombuffer(network, np.uint8)[None],
        "checksum": np.array([[content.checksum, sound]], np.uint32),
    }
    return Request(model, "coded", content.coded[None], parameters, others=others, stream=place.stream)
