"""The features of streams, added up from the differences."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from triton_yolo.gather import codes
from triton_yolo.gather.codes import added, decoded, encoded, packed
from triton_yolo.gather.errors import BadUpdate, KeyWanted, NoDecoder, OtherNetwork
from triton_yolo.gather.streams import Streams
from triton_yolo.gather.update import FeaturesUpdate, read_update

LENGTH, NETWORK = 1003, b"0123456789abcdef"  # no multiple of 8
FEATURES = arrays.arrays(np.int8, LENGTH, elements=st.integers(-128, 127))
CODES = pytest.mark.parametrize("zstd", [True, False], ids=["zstd", "zlib"])


def features(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, LENGTH).astype(np.int8)


def inputs(**changed: Any) -> dict[str, Any]:
    """The inputs of a request for a key frame that is right but for what is changed; its checksum fits."""
    given = {
        "coded": np.frombuffer(encoded(features(0).tobytes(), True), np.uint8),
        "stream": np.frombuffer(b"camera 1", np.uint8),
        "numbers": np.array([7, 5, -1], np.int64),
        "key": np.array([True]),
        "image_size": np.array([960, 1280], np.int32),
        "network": np.frombuffer(NETWORK, np.uint8),
        "features": zlib.crc32(features(0)),
        **changed,
    }
    of_features = given.pop("features")
    head = struct.pack("<3q?2iI", *given["numbers"], bool(given["key"][0]), *given["image_size"], of_features)
    parts = [given[name].tobytes() for name in ("stream", "network", "coded")]
    given["checksum"] = np.array([of_features, zlib.crc32(head + b"".join(parts))], np.uint32)
    return {name: array[None] for name, array in given.items()} | {"served": NETWORK, "length": LENGTH}


def change(new: np.ndarray, old: np.ndarray, number: int, base: int, **more: Any) -> FeaturesUpdate:
    """The update from some features to others."""
    coded = np.frombuffer(encoded(packed(new, old), True), np.uint8)
    given = {"coded": coded, "numbers": np.array([7, number, base]), "key": np.array([False])}
    return read_update(**inputs(**given, features=zlib.crc32(new), **more))


@given(old=FEATURES, new=FEATURES)
@settings(max_examples=100, deadline=None)
def test_a_difference_leads_from_any_features_to_any_others_exactly(old: np.ndarray, new: np.ndarray) -> None:
    before = old.copy()
    np.testing.assert_array_equal(added(old, packed(new, old)), new)
    np.testing.assert_array_equal(old, before)


def test_what_is_the_same_takes_a_bit_and_what_is_not_a_byte_more() -> None:
    old, new = features(0), features(0)
    assert len(packed(new, old)) == -(-LENGTH // 8)
    new[[3, 500]] += 1
    assert len(packed(new, old)) == -(-LENGTH // 8) + 2


@given(content=st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_a_difference_that_nobody_made_is_refused_or_exact(content: bytes) -> None:
    old = features(1)[:77]
    try:
        new = added(old, content)
    except BadUpdate as error:
        assert "a bit for each of 77 features, and a byte for each whose bit is set" in str(error)
    else:
        assert np.count_nonzero(new != old) <= len(content) - 10


@CODES
def test_codes_lose_nothing(zstd: bool) -> None:
    for content in (b"", b"a" * 5000, features(2).tobytes()):
        assert decoded(encoded(content, zstd), len(content)) == content


@CODES
def test_a_code_of_more_than_there_may_be_is_refused_before_it_takes_memory(zstd: bool) -> None:
    bomb = encoded(bytes(10**8), zstd)
    with pytest.raises(BadUpdate, match="at most 1000 bytes when it is decoded"):
        decoded(bomb, 1000)


def test_a_code_that_does_not_say_how_much_it_is_is_refused() -> None:
    coder = zstandard.ZstdCompressor(write_content_size=False)
    with pytest.raises(BadUpdate, match="and say so"):
        decoded(coder.compress(b"a" * 100), 1000)


@CODES
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7), length=st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_a_damaged_code_is_refused_or_decodes_to_no_more(zstd: bool, place: int, bit: int, length: int) -> None:
    coded = bytearray(encoded(features(3).tobytes(), zstd))
    coded[place % len(coded)] ^= 1 << bit
    try:
        assert len(decoded(bytes(coded[: 1 + length % len(coded)]), LENGTH)) <= LENGTH
    except BadUpdate as error:
        assert str(error).startswith("coded")


def test_without_zstandard_its_code_is_refused_with_what_to_send(monkeypatch: pytest.MonkeyPatch) -> None:
    coded = encoded(b"abc", True)
    monkeypatch.setattr(codes, "zstandard", None)
    with pytest.raises(NoDecoder, match=r"^no decoder for this code: this server has no package zstandard"):
        decoded(coded, 10)


def test_a_chain_of_differences_is_exact() -> None:
    kept, last = Streams("gather", 4, 10**6, 10.0), features(0)
    np.testing.assert_array_equal(kept.apply(read_update(**inputs()), 0), last)
    for number in range(6, 30):
        new = np.where(np.random.default_rng(number).random(LENGTH) < 0.1, features(number), last)
        np.testing.assert_array_equal(kept.apply(change(new, last, number, number - 1), 0), new)
        last = new


@pytest.mark.parametrize(
    ("update", "words"),
    [
        (change(features(2), features(1), 7, 6), "builds on 6, and the last one here is 5"),
        (change(features(2), features(0), 6, 5, stream=np.frombuffer(b"other", np.uint8)), "'other' is not known here"),
        (change(features(2), features(1), 6, 5), "the features that came out have the checksum"),
    ],
    ids=["gap", "stream", "other features of the same number"],
)
def test_what_builds_on_other_features_wants_a_key_frame_and_changes_nothing(
    update: FeaturesUpdate, words: str
) -> None:
    kept = Streams("gather", 4, 10**6, 10.0)
    kept.apply(read_update(**inputs()), 0)
    with pytest.raises(KeyWanted, match=f"^send a key frame: .*{words}"):
        kept.apply(update, 0)
    np.testing.assert_array_equal(kept.apply(change(features(4), features(0), 6, 5), 0), features(4))


def test_what_is_kept_is_not_the_memory_of_the_request() -> None:
    given = inputs()
    kept = Streams("gather", 4, 10**6, 10.0).apply(read_update(**given), 0)
    assert kept.flags.writeable and kept.base is not given["coded"]


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"network": np.frombuffer(b"fedcba9876543210", np.uint8)}, OtherNetwork, "of fedcba9876543210, and this"),
        ({"network": np.empty(0, np.uint8)}, OtherNetwork, "of no network, and this server"),
        ({"image_size": np.array([0, 5], np.int32)}, BadUpdate, r"image_size must be .* got \[0, 5\]"),
        ({"image_size": np.array([5, 40000], np.int32)}, BadUpdate, "1 to 32768 pixels"),
        ({"stream": np.empty(0, np.uint8)}, BadUpdate, "a name of 1 to 256 bytes"),
        ({"numbers": np.array([7, 5, 4])}, BadUpdate, "-1 for a key frame"),
        ({"coded": np.frombuffer(b"\\x00" * 20, np.uint8)}, BadUpdate, "coded is damaged: zlib says"),
    ],
    ids=["another network", "no network", "no height", "too wide", "no name", "a base", "no code"],
)
def test_what_is_wrong_with_a_request_is_said(changed: dict[str, Any], kind: type[BadUpdate], words: str) -> None:
    with pytest.raises(kind, match=words):
        read_update(**inputs(**changed))


def test_a_key_frame_of_another_length_is_refused() -> None:
    short = features(0)[:-1]
    coded = np.frombuffer(encoded(short.tobytes(), True), np.uint8)
    update = read_update(**inputs(coded=coded, features=zlib.crc32(short)))
    with pytest.raises(BadUpdate, match="the 1003 features of a key frame, got 1002"):
        Streams("gather", 4, 10**6, 10.0).apply(update, 0)


@pytest.mark.parametrize("name", ["coded", "stream", "numbers", "key", "image_size", "network", "checksum"])
def test_whatever_is_damaged_on_its_way_is_refused(name: str) -> None:
    given = inputs()
    array = given[name] = given[name].copy()
    array.view(np.uint8).reshape(-1)[-1] ^= 1
    with pytest.raises(BadUpdate, match="damaged on its way"):
        read_update(**given)
