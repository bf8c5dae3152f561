"""What a request says of a frame's features: how they differ from those of an earlier frame, or all of them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .checksum import checksum_of
from .codes import Features, added, decoded
from .errors import BadUpdate, KeyWanted, OtherNetwork
from .streams import Place, Update

MAX_SIDE = 1 << 15  # of a frame, in pixels


@dataclass(frozen=True)
class FeaturesUpdate(Update):
    """The features of a frame, or how they differ from those of another.

    Attributes:
        place: where it stands.
        content: decoded: of a key frame the features, else what codes.packed makes.
        length: L, the number of features.
        checksum: CRC-32 of the features of the frame.
    """

    place: Place
    content: bytes
    length: int
    checksum: int

    @property
    def nbytes(self) -> int:
        """Bytes of the features."""
        return self.length

    def whole(self) -> Features:
        """Return the features int8 [L] of a key frame.

        Raises:
            BadUpdate: they are not as many, or not those that the client has.
        """
        if len(self.content) != self.length:
            raise BadUpdate(f"coded must have the {self.length} features of a key frame, got {len(self.content)}")
        return self._checked(np.frombuffer(bytearray(self.content), np.int8))

    def onto(self, kept: Features) -> Features:
        """Return the sum of features int8 [L] and the difference, in other memory.

        Raises:
            KeyWanted: they are not those that the client has.
            BadUpdate: the difference is of other features.
        """
        return self._checked(added(kept, self.content))

    def _checked(self, features: Features) -> Features:
        found = zlib.crc32(features.data)
        if found != self.checksum:
            raise KeyWanted(f"the features that came out have the checksum {found}, and the camera's {self.checksum}")
        return features


def read_update(
    coded: npt.NDArray[np.uint8],
    stream: npt.NDArray[np.uint8],
    numbers: npt.NDArray[np.int64],
    key: npt.NDArray[np.bool_],
    image_size: npt.NDArray[np.int32],
    network: npt.NDArray[np.uint8],
    checksum: npt.NDArray[np.uint32],
    *,
    served: bytes,
    length: int,
) -> FeaturesUpdate:
    """Check the inputs of a request, and decode its features.

    Args:
        coded: uint8 [1, n].
        stream: uint8 [1, n], the stream's name.
        numbers: int64 [1, 3]: session, number, base.
        key: bool [1, 1].
        image_size: int32 [1, 2], height and width of the frame, in pixels.
        network: uint8 [1, n], what tells the client's network from others.
        checksum: uint32 [1, 2]: of the features, and what ``checksum_of`` returns.
        served: what tells the network of this server from others.
        length: L, the number of its features.

    Raises:
        BadUpdate: says which input is wrong, and what is expected.
        OtherNetwork: the features are another network's.
        NoDecoder: nothing here decodes them.
    """
    if len(coded) != 1:
        raise BadUpdate(f"a request has one frame of one stream, got a batch of {len(coded)}")
    session, number, base = numbers[0].tolist()
    place = Place(stream[0].tobytes(), session, number, base, bool(key[0, 0]))
    of_features, of_request = checksum[0].tolist()
    height, width = image_size[0].tolist()
    theirs = network[0].tobytes()
    places = (session, number, base)
    sound = checksum_of(place.stream, places, place.key, (height, width), theirs, of_features, coded[0])
    if sound != of_request:
        raise BadUpdate(f"checksum is {of_request}, and what arrived has {sound}: it was damaged on its way")
    place.check()
    if theirs != served:
        raise OtherNetwork(f"the features are of {_shown(theirs)}, and this server has the head of {_shown(served)}")
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise BadUpdate(f"image_size must be height and width of 1 to {MAX_SIDE} pixels, got {[height, width]}")
    # A difference is a bit for each feature, and a byte at most.
    content = decoded(coded[0].tobytes(), length if place.key else -(-length // 8) + length)
    return FeaturesUpdate(place, content, length, of_features)


def _shown(network: bytes) -> str:
    return network.decode(errors="replace")[:16] or "no network"
