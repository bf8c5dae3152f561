"""The encoder: what it sends makes the server's frame what the camera's was."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from triton_yolo.assemble.errors import KeyWanted
from triton_yolo.assemble.streams import Streams
from triton_yolo.assemble.update import read_update
from triton_yolo.boards.line import Line
from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.stream.changes import SIGNIFICANT
from triton_yolo.clients.stream.costs import Kind
from triton_yolo.clients.stream.encoder import Encoded
from triton_yolo.clients.stream.tile_request import tile_request
from triton_yolo.clients.stream.tiles import TileEncoder

GREY = np.full((192, 256, 3), 100, np.uint8)


class Receiver:
    """What the server does with the requests of streams."""

    def __init__(self) -> None:
        self.streams = Streams("assemble", 8, 10**9, 1e9)
        self.frame = GREY

    def take(self, encoded: Encoded) -> None:
        assert encoded.place and encoded.content
        request = tile_request(encoded.place, encoded.content, {})
        self.frame = self.streams.apply(read_update(**{"tiles": request.tensor, **request.others}), 0.0)  # type: ignore[arg-type]


def sent(encoder: TileEncoder, receiver: Receiver, frame: np.ndarray, seconds: float = 0.01) -> Encoded:
    encoded = encoder.encode(frame)
    if encoded.place:
        receiver.take(encoded)
        encoder.answered(encoded, seconds)
    return encoded


def moving(frames: int) -> list[np.ndarray]:
    line = Line(1, 640, 480, still_frames=20, moving_frames=10, boards=2, noise=2.0)
    return [frame.image for frame in islice(line, frames)]


def test_without_loss_the_servers_frame_differs_by_no_more_than_noise() -> None:
    encoder, receiver = TileEncoder("a", quality=None, link_mbits=1000), Receiver()
    kinds: Counter[Kind] = Counter()
    for number, frame in enumerate(moving(90)):
        frame[100:130, 200:230] = 37 * (number // 5) % 256  # something is laid down
        kinds[sent(encoder, receiver, frame).kind] += 1
        difference = np.abs(frame.astype(int) - receiver.frame.astype(int))
        assert difference.max() <= SIGNIFICANT * 2.2 * 2**0.5
        assert abs(frame.mean() - receiver.frame.mean()) < 0.5
    assert kinds[Kind.NOTHING] > 30
    assert kinds[Kind.RAW_TILES] + kinds[Kind.CODED_TILES] > 8


@pytest.mark.parametrize("link_mbits", [10, 100_000])
def test_tiles_and_frames_as_jpeg_are_like_the_frame(link_mbits: float) -> None:
    encoder, receiver = TileEncoder("a", link_mbits=link_mbits), Receiver()
    kinds: Counter[Kind] = Counter()
    for frame in moving(90):
        kinds[sent(encoder, receiver, frame).kind] += 1
        assert np.abs(frame.astype(int) - receiver.frame.astype(int)).mean() < 4  # two draws of noise, and the JPEG
    coded = kinds[Kind.CODED_TILES] + kinds[Kind.CODED_FRAME]
    assert coded == (90 - kinds[Kind.NOTHING] if link_mbits == 10 else 0)
    assert kinds[Kind.NOTHING] > 30


def test_the_first_frame_is_a_key_frame_and_one_that_is_the_same_is_not_sent() -> None:
    encoder, receiver = TileEncoder("a"), Receiver()
    first = sent(encoder, receiver, GREY)
    assert (first.number, first.kind.whole, first.boxes.tolist()) == (0, True, [[0, 0, 256, 192]])
    second = sent(encoder, receiver, GREY)
    assert (second.number, second.kind, second.nbytes, second.boxes.tolist()) == (1, Kind.NOTHING, 0, [])


def test_one_tile_that_changed_is_sent_alone() -> None:
    encoder, receiver, other = TileEncoder("a"), Receiver(), GREY.copy()
    sent(encoder, receiver, GREY)
    other[70:80, 130:140] = 200
    encoded = sent(encoder, receiver, other)
    assert not encoded.kind.whole
    assert encoded.boxes.tolist() == [[128, 64, 192, 128]]
    assert encoded.place
    assert (encoded.place.number, encoded.place.base) == (1, 0)


def test_key_frames_come_at_an_interval_and_on_demand() -> None:
    encoder, receiver = TileEncoder("a", key_interval=10), Receiver()
    numbers = [n for n in range(35) if sent(encoder, receiver, GREY).kind.whole]
    assert numbers == [0, 10, 20, 30]
    encoder.want_key_frame()
    assert sent(encoder, receiver, GREY).kind.whole
    assert not sent(encoder, receiver, GREY).kind.whole


def test_after_a_failure_comes_a_key_frame_of_a_new_session() -> None:
    encoder, receiver, other = TileEncoder("a"), Receiver(), GREY.copy()
    first = sent(encoder, receiver, GREY)
    other[:10] = 0
    lost = encoder.encode(other)
    encoder.failed()
    again = encoder.encode(GREY)
    assert again.kind.whole and again.place and first.place
    assert again.place.session != first.place.session
    receiver.take(again)
    with pytest.raises(KeyWanted, match="another key frame since"):
        receiver.take(lost)  # it was late, and not lost


def test_the_same_frame_is_sent_whole_where_the_server_wants_that() -> None:
    encoder, receiver, other = TileEncoder("a"), Receiver(), GREY.copy()
    sent(encoder, receiver, GREY)
    other[:10] = 0
    tiles = encoder.encode(other)
    whole = encoder.encode_again(other)
    assert (tiles.kind.whole, whole.kind.whole) == (False, True)
    assert tiles.number == whole.number == 1
    receiver.streams.forget(b"a", encoder.session)
    receiver.take(whole)
    encoder.answered(whole, 0.01)
    assert sent(encoder, receiver, other).kind is Kind.NOTHING


def test_a_frame_of_another_size_is_a_key_frame() -> None:
    encoder, receiver = TileEncoder("a"), Receiver()
    sent(encoder, receiver, GREY)
    assert sent(encoder, receiver, GREY[:100]).kind.whole
    assert sent(encoder, receiver, GREY[:100]).kind is Kind.NOTHING
    assert receiver.frame.shape == (100, 256, 3)


def test_a_frame_may_be_written_to_after_the_call() -> None:
    encoder, receiver, frame = TileEncoder("a", quality=None), Receiver(), GREY.copy()
    encoded = encoder.encode(frame)
    frame[:] = 0
    receiver.take(encoded)
    encoder.answered(encoded, 0.01)
    np.testing.assert_array_equal(receiver.frame, GREY)
    assert sent(encoder, receiver, GREY).kind is Kind.NOTHING


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"stream": ""}, "1 to 256 bytes"),
        ({"stream": "ä" * 129}, "1 to 256 bytes"),
        ({"side": 24}, "a multiple of 16 from 16 to 512, got 24"),
        ({"quality": 0}, "from 1 to 100, or None"),
        ({"key_interval": 0}, "1 frame or more"),
        ({"most_noise": float("nan")}, "0 grey levels or more"),
        ({"link_mbits": 0}, "above 0 Mbit/s"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_argument_that_is_out_of_range_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(DetectionError, match=words):
        TileEncoder(**{"stream": "a", **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize("frame", [GREY[..., 0], GREY.astype(float), GREY[:0]], ids=["grey", "float", "empty"])
def test_what_is_no_frame_is_refused(frame: np.ndarray) -> None:
    with pytest.raises(DetectionError, match=r"uint8 \[H, W, 3\]|has pixels"):
        TileEncoder("a").encode(frame)
