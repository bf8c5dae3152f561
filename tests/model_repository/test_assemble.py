"""The frames of streams, put together from the tiles that changed."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest

from triton_yolo.assemble.codes import MAX_PIXELS, decoded, size_of
from triton_yolo.assemble.errors import BadUpdate, KeyWanted, NoRoom
from triton_yolo.assemble.streams import Place, Streams, Update
from triton_yolo.assemble.update import TilesUpdate, read_update

NOTHING = np.empty((0, 2), np.int32)
FRAME = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
TILES = np.random.default_rng(1).integers(0, 256, (2, 16, 16, 3), np.uint8)
POSITIONS = np.array([[0, 0], [32, 48]], np.int32)


def streams(count: int = 4, nbytes: int = 10**9, idle: float = 10.0) -> Streams:
    return Streams("assemble", count, nbytes, idle)


def key(name: str = "a", session: int = 1, number: int = 0, frame: np.ndarray = FRAME) -> Update:
    return TilesUpdate(Place(name.encode(), session, number, -1, True), frame[None], np.zeros((1, 2), np.int32))


def change(number: int, base: int, name: str = "a", session: int = 1, **more: Any) -> Update:
    place = Place(name.encode(), session, number, base, False)
    return TilesUpdate(place, **{"tiles": TILES, "positions": POSITIONS, **more})


def expected(frame: np.ndarray = FRAME, positions: np.ndarray = POSITIONS, tiles: np.ndarray = TILES) -> np.ndarray:
    whole = frame.copy()
    for tile, (row, column) in zip(tiles, positions, strict=True):
        whole[row : row + tile.shape[0], column : column + tile.shape[1]] = tile
    return whole


def inputs(**changed: Any) -> dict[str, np.ndarray]:
    """The inputs of a request that is right but for what is changed; its checksum fits."""
    given = {
        "tiles": TILES,
        "coded": np.empty(0, np.uint8),
        "positions": POSITIONS,
        "stream": np.frombuffer(b"camera 1", np.uint8),
        "numbers": np.array([7, 5, 4], np.int64),
        "key": np.array([False]),
        **changed,
    }
    if "checksum" not in given:
        head = struct.pack("<3q?4q", *given["numbers"], bool(given["key"][0]), *given["tiles"].shape)
        parts = [given[name].tobytes() for name in ("stream", "positions", "tiles", "coded")]
        given["checksum"] = np.array([zlib.crc32(head + b"".join(parts))], np.uint32)
    return {name: array[None] for name, array in given.items()}


def png(picture: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.imencode(".png", picture[..., ::-1])[1])


def test_a_key_frame_is_the_frame() -> None:
    np.testing.assert_array_equal(streams().apply(key(), 0), FRAME)


def test_tiles_replace_what_lies_at_their_places_and_nothing_else() -> None:
    kept = streams()
    kept.apply(key(), 0)
    np.testing.assert_array_equal(kept.apply(change(1, 0), 0), expected())


def test_of_tiles_that_overlap_the_last_one_counts() -> None:
    kept, positions = streams(), np.array([[3, 5], [7, 9]], np.int32)
    kept.apply(key(), 0)
    np.testing.assert_array_equal(kept.apply(change(1, 0, positions=positions), 0), expected(positions=positions))


def test_frames_that_nobody_sent_leave_gaps_in_the_numbers() -> None:
    kept = streams()
    kept.apply(key(number=4), 0)
    kept.apply(change(9, 4), 0)
    np.testing.assert_array_equal(kept.apply(change(10, 9), 0), expected())


@pytest.mark.parametrize(
    ("update", "why"),
    [
        (change(2, 1), "builds on 1, and the last one here is 0"),  # one was lost
        (change(1, 0, name="b"), "'b' is not known here"),
        (change(1, 0, session=2), "has had another key frame since"),  # of another client, or sent twice
    ],
    ids=["gap", "stream", "session"],
)
def test_what_builds_on_another_frame_wants_a_key_frame_and_changes_nothing(update: Update, why: str) -> None:
    kept = streams()
    kept.apply(key(), 0)
    with pytest.raises(KeyWanted, match=f"^send a key frame: .*{why}"):
        kept.apply(update, 0)
    np.testing.assert_array_equal(kept.apply(change(1, 0), 0), expected())


def test_the_same_change_twice_is_refused_the_second_time() -> None:
    kept = streams()
    kept.apply(key(), 0)
    kept.apply(change(1, 0), 0)
    with pytest.raises(KeyWanted, match="builds on 0, and the last one here is 1"):
        kept.apply(change(1, 0), 0)


@pytest.mark.parametrize("position", [(-1, 0), (0, -1), (33, 0), (0, 49), (2**31 - 1, 0), (-(2**31), 0)], ids=str)
def test_a_tile_outside_of_the_frame_is_refused_and_none_beside_it_is_written(position: tuple[int, int]) -> None:
    kept = streams()
    kept.apply(key(), 0)
    with pytest.raises(BadUpdate, match="inside the frame of 48x64"):
        kept.apply(change(1, 0, positions=np.array([[0, 0], position], np.int32)), 0)
    tiny, nowhere = TILES[:1, :1, :1], np.array([[47, 63]], np.int32)
    np.testing.assert_array_equal(
        kept.apply(change(1, 0, tiles=tiny, positions=nowhere), 0), expected(positions=nowhere, tiles=tiny)
    )


def test_a_tile_that_is_larger_than_the_frame_is_refused() -> None:
    kept = streams()
    kept.apply(key(), 0)
    with pytest.raises(BadUpdate, match="tiles of 64x16"):
        kept.apply(change(1, 0, tiles=np.zeros((1, 64, 16, 3), np.uint8), positions=POSITIONS[:1]), 0)


def test_the_frame_that_is_kept_is_no_view_of_the_request() -> None:
    kept, sent = streams(), FRAME.copy()
    kept.apply(key(frame=sent), 0)
    sent[:] = 0
    np.testing.assert_array_equal(kept.apply(change(1, 0), 0), expected())


def test_one_stream_too_many_is_refused_and_those_that_are_known_go_on() -> None:
    kept = streams(count=2)
    kept.apply(key("a"), 0)
    kept.apply(key("b"), 0)
    with pytest.raises(NoRoom, match=r"no room for another stream: .* at most 2"):
        kept.apply(key("c"), 0)
    kept.apply(key("a", session=2), 0)
    kept.apply(change(1, 0, "b"), 0)
    assert len(kept) == 2


def test_bytes_are_counted_and_have_a_bound() -> None:
    kept = streams(nbytes=2 * FRAME.nbytes)
    kept.apply(key("a"), 0)
    kept.apply(key("b"), 0)
    assert kept.nbytes == 2 * FRAME.nbytes
    with pytest.raises(NoRoom, match=f"{3 * FRAME.nbytes} bytes"):
        kept.apply(key("c"), 0)
    with pytest.raises(NoRoom):  # as a frame that is larger than it was
        kept.apply(key("b", frame=np.zeros((49, 64, 3), np.uint8)), 0)
    kept.apply(change(1, 0, "b"), 0)  # the one before is still there
    kept.apply(key("b", frame=FRAME[:8]), 0)
    assert kept.nbytes == FRAME.nbytes + FRAME[:8].nbytes


def test_a_stream_that_is_idle_is_forgotten_and_makes_room() -> None:
    kept = streams(count=2)
    kept.apply(key("a"), 0)
    kept.apply(key("b"), 8)
    kept.apply(key("c"), 10.5)
    with pytest.raises(KeyWanted, match="'a' is not known"):
        kept.apply(change(1, 0, "a"), 10.5)
    kept.apply(change(1, 0, "b"), 11)
    assert (len(kept), kept.nbytes) == (2, 2 * FRAME.nbytes)


def test_a_stream_is_given_up_by_whoever_sent_its_key_frame() -> None:
    kept = streams()
    kept.apply(key(session=5), 0)
    kept.forget(b"a", 4)
    kept.forget(b"b", 5)
    assert len(kept) == 1
    kept.forget(b"a", 5)
    assert (len(kept), kept.nbytes) == (0, 0)


def test_a_request_is_read_as_it_was_sent() -> None:
    update = read_update(**inputs())
    assert update.place == Place(b"camera 1", 7, 5, 4, False)
    np.testing.assert_array_equal(update.tiles, TILES)
    np.testing.assert_array_equal(update.positions, POSITIONS)


def test_tiles_may_come_as_a_picture_of_them_below_each_other() -> None:
    picture = np.concatenate([*TILES])
    update = read_update(**inputs(tiles=np.empty((0, 0, 0, 3), np.uint8), coded=png(picture)))
    np.testing.assert_array_equal(update.tiles, TILES)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a damaged checksum": ({"checksum": np.array([3], np.uint32)}, "checksum is 3, and what arrived has"),
    "no name": ({"stream": np.empty(0, np.uint8)}, "a name of 1 to 256 bytes, got 0"),
    "a long name": ({"stream": np.zeros(257, np.uint8)}, "got 257"),
    "a number below 0": ({"numbers": np.array([7, -1, -2])}, "number of 0 or more"),
    "a base that comes later": ({"numbers": np.array([7, 5, 5])}, "below the number; got \\[5, 5\\]"),
    "a change without a base": ({"numbers": np.array([7, 5, -1])}, "below the number"),
    "a key frame with a base": ({"key": np.array([True])}, "-1 for a key frame"),
    "fewer places": ({"positions": POSITIONS[:1]}, "as many; got 2 and 1"),
    "no tile at all": (
        {"tiles": TILES[:0], "positions": NOTHING},
        "must be empty and the other not; they have 0 and 0",
    ),
    "tiles without pixels": ({"tiles": TILES[:, :0]}, "they have 0 and 0"),
    "pixels and a code": ({"coded": png(TILES[0])}, "must be empty and the other not"),
    "a key frame of two tiles": (
        {"key": np.array([True]), "numbers": np.array([7, 5, -1])},
        "one tile at position 0, 0; got 2 tiles",
    ),
    "a key frame elsewhere": (
        {
            "key": np.array([True]),
            "numbers": np.array([7, 5, -1]),
            "tiles": TILES[:1],
            "positions": np.array([[0, 1]], np.int32),
        },
        "first \\[0, 1\\]",
    ),
    "a code of another height": (
        {"tiles": np.empty((0, 0, 0, 3), np.uint8), "coded": png(np.zeros((33, 16, 3), np.uint8))},
        "as high as its 2 tiles",
    ),
    "a code and no places": (
        {"tiles": np.empty((0, 0, 0, 3), np.uint8), "coded": png(TILES[0]), "positions": NOTHING},
        "as high as its 0 tiles",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_request_that_is_wrong_is_refused_in_words(case: str) -> None:
    changed, words = WRONG[case]
    with pytest.raises(BadUpdate, match=words):
        read_update(**inputs(**changed))


def test_a_batch_of_several_is_refused() -> None:
    twice = {name: np.concatenate([array] * 2) for name, array in inputs().items()}
    with pytest.raises(BadUpdate, match="one frame of one stream, got a batch of 2"):
        read_update(**twice)


@pytest.mark.parametrize("name", ["tiles", "positions", "stream", "numbers", "key"])
def test_the_checksum_covers_every_input(name: str) -> None:
    given = inputs()
    given[name] = given[name].copy()
    flat = given[name].view(np.uint8).reshape(-1)
    flat[-1] ^= 1
    with pytest.raises(BadUpdate, match="damaged on its way"):
        read_update(**given)


def test_the_checksum_covers_the_shape_of_the_tiles() -> None:
    given = inputs(tiles=np.arange(2 * 8 * 32 * 3, dtype=np.uint8).reshape(2, 8, 32, 3))
    given["tiles"] = given["tiles"].reshape(1, 2, 32, 8, 3)
    with pytest.raises(BadUpdate, match="damaged on its way"):
        read_update(**given)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_size_in_the_header_is_that_of_the_picture(suffix: str) -> None:
    for height, width in ((1, 1), (48, 64), (300, 17)):
        coded = cv2.imencode(suffix, np.zeros((height, width, 3), np.uint8))[1]
        assert size_of(coded.tobytes()) == (height, width)


@pytest.mark.parametrize("suffix", [".bmp", ".tiff", ".webp"])
def test_other_kinds_of_files_are_refused(suffix: str) -> None:
    with pytest.raises(BadUpdate, match="one JPEG or PNG; its first bytes are"):
        decoded(np.asarray(cv2.imencode(suffix, FRAME)[1]))


def test_a_header_that_claims_too_much_is_refused_before_memory_is_taken() -> None:
    coded = png(FRAME)
    coded[16:24] = np.frombuffer(struct.pack(">II", MAX_PIXELS, 2), np.uint8)
    with pytest.raises(BadUpdate, match=f"from 1 to {MAX_PIXELS} pixels"):
        decoded(coded)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_code_that_was_cut_off_is_refused(suffix: str) -> None:
    coded = np.asarray(cv2.imencode(suffix, FRAME)[1])
    for cut in (0, 3, 20, 30, len(coded) // 2, len(coded) - 1):
        with pytest.raises(BadUpdate, match=r"coded (ends early|must be one JPEG or PNG)"):
            decoded(coded[:cut])


def test_a_png_whose_middle_is_damaged_is_refused() -> None:
    coded = png(FRAME)
    coded[len(coded) // 2] ^= 255
    with pytest.raises(BadUpdate, match="OpenCV cannot decode it"):
        decoded(coded)
