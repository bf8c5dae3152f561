"""The encoder of features: what a server that adds up the differences has, and how little is sent."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from triton_yolo.boards.line import Line
from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.stream.costs import Kind
from triton_yolo.clients.stream.edge import MEAN_STEPS, MOST_STEPS, Edge, EdgeProof
from triton_yolo.clients.stream.encoder import Encoded
from triton_yolo.clients.stream.features import FeatureEncoder
from triton_yolo.gather.codes import ZSTD
from triton_yolo.gather.errors import KeyWanted
from triton_yolo.gather.streams import Streams
from triton_yolo.gather.update import read_update
from triton_yolo.nms.letterbox import Letterbox

SIDE, CELL = 192, 8
PROOF_PIXELS = np.random.default_rng(0).integers(0, 32, (2, 3, SIDE, SIDE), np.uint8) * np.uint8(8)


def compute(pixels: np.ndarray) -> np.ndarray:
    """Features of cells: means, halved, of the three channels."""
    cells = pixels[0].reshape(3, SIDE // CELL, CELL, SIDE // CELL, CELL)
    return (cells.mean((2, 4)) / 2).astype(np.int8)


def proof() -> EdgeProof:
    features = np.stack([compute(picture[None]).reshape(-1) for picture in PROOF_PIXELS])
    return EdgeProof("0123456789abcdef", Letterbox(SIDE, SIDE), PROOF_PIXELS, features, "")


class Receiver:
    """What the server has."""

    def __init__(self) -> None:
        self.streams = Streams("gather", 4, 10**8, 1e9)
        self.features = np.empty(0, np.int8)

    def take(self, encoder: FeatureEncoder, encoded: Encoded) -> None:
        request = encoder.request(encoded, {})
        given = {"coded": request.tensor, **request.others}
        length = proof().features.shape[1]
        update = read_update(**given, served=proof().network.encode(), length=length)  # type: ignore[arg-type]
        self.features = self.streams.apply(update, 0.0)


def frames(seed: int) -> Iterator[np.ndarray]:
    """A scene in which now and then something is laid down, with noise of 2 grey levels."""
    random = np.random.default_rng(seed)
    scene = random.integers(60, 200, (SIDE // 8, SIDE // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    while True:
        if random.integers(3) == 0:
            row, column = random.integers(0, SIDE - 20, 2).tolist()
            scene[row : row + 20, column : column + 20] = random.integers(60, 200, 3)
        yield np.clip(scene + random.normal(0, 2, scene.shape), 0, 255).astype(np.uint8)


def sent(encoder: FeatureEncoder, receiver: Receiver, frame: np.ndarray) -> Encoded:
    encoded = encoder.encode(frame)
    if encoded.place:
        receiver.take(encoder, encoded)
    encoder.answered(encoded, 0.01)
    return encoded


@pytest.mark.parametrize("tolerance", [0, 1, 5])
def test_the_server_has_the_features_of_each_frame_up_to_the_tolerance(tolerance: int) -> None:
    edge, receiver = Edge(proof(), compute), Receiver()
    encoder = FeatureEncoder("a", edge, tolerance=tolerance)
    kinds: Counter[Kind] = Counter()
    for frame in islice(frames(1), 150):
        kinds[sent(encoder, receiver, frame).kind] += 1
        assert encoder._changes is not None
        apart = np.abs(edge.features(encoder._changes.kept).astype(int) - receiver.features)
        assert apart.max() <= tolerance, "differences that are not sent must not add up"
        # What is not sent since it is noise moves the mean of a cell by less than a few grey levels.
        assert np.abs(edge.features(frame).astype(int) - receiver.features).max() <= tolerance + 3
    assert kinds[Kind.DIFFERENCES] > 20
    assert kinds[Kind.NOTHING] > 40
    assert kinds[Kind.FEATURES] == 1


def test_a_scene_that_stands_still_costs_neither_bytes_nor_a_run() -> None:
    runs = Counter[str]()

    def counted(pixels: np.ndarray) -> np.ndarray:
        runs["all"] += 1
        return compute(pixels)

    encoder, receiver = FeatureEncoder("a", Edge(proof(), counted)), Receiver()
    line = Line(2, SIDE, SIDE, boards=1, still_frames=60, moving_frames=0, noise=2.0)
    results = [sent(encoder, receiver, frame.image) for frame in islice(line, 60)]
    assert [one.kind for one in results[20:]] == [Kind.NOTHING] * 40
    assert not sum(one.nbytes for one in results[20:])
    assert runs["all"] == len(PROOF_PIXELS) + sum(one.kind is not Kind.NOTHING for one in results)


def test_frames_of_any_size_are_compared_to_their_last_row_and_column() -> None:
    edge, receiver = Edge(proof(), compute), Receiver()
    encoder, frame = FeatureEncoder("a", edge, tolerance=0), next(frames(3))[:187, :161].copy()
    sent(encoder, receiver, frame)
    frame[170:, 150:] = 255
    assert sent(encoder, receiver, frame).kind is Kind.DIFFERENCES
    np.testing.assert_array_equal(receiver.features, edge.features(frame))


def test_what_moves_everywhere_is_sent_whole_where_that_is_less() -> None:
    encoder, receiver, random = FeatureEncoder("a", Edge(proof(), compute)), Receiver(), np.random.default_rng(4)
    noise = [random.integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1) for _ in range(6)]
    results = [sent(encoder, receiver, frame) for frame in noise]
    assert {one.kind for one in results} == {Kind.FEATURES}
    assert max(one.nbytes for one in results) < 1.1 * proof().features.shape[1]


def test_a_part_that_passes_takes_a_fraction_of_whole_features() -> None:
    encoder, receiver, nbytes = FeatureEncoder("a", Edge(proof(), compute)), Receiver(), []
    still = next(frames(5))
    for left in range(0, SIDE - 16, 4):
        frame = still.copy()
        frame[64:80, left : left + 16] = 30
        encoded = sent(encoder, receiver, frame)
        nbytes.append(encoded.nbytes)
        assert encoded.boxes.shape[1] == 4
    assert sum(nbytes[1:]) / len(nbytes[1:]) < 0.4 * nbytes[0]


def test_key_frames_come_at_their_interval_after_failures_and_for_another_size() -> None:
    encoder, receiver = FeatureEncoder("a", Edge(proof(), compute), key_interval=10), Receiver()
    frame = next(frames(6))
    kinds = [sent(encoder, receiver, frame).kind for _ in range(12)]
    assert [number for number, kind in enumerate(kinds) if kind is Kind.FEATURES] == [0, 10]
    encoder.encode(frame)
    encoder.failed()
    session = encoder.session
    assert sent(encoder, receiver, frame).kind is Kind.FEATURES
    assert encoder.session != session
    assert sent(encoder, receiver, frame[:-8]).kind is Kind.FEATURES


def test_after_a_gap_the_same_frame_is_sent_as_a_key_frame() -> None:
    edge, receiver = Edge(proof(), compute), Receiver()
    encoder = FeatureEncoder("a", edge, tolerance=0)
    first, second = next(frames(7)), next(frames(8))
    sent(encoder, receiver, first)
    receiver.streams = Streams("gather", 4, 10**8, 1e9)  # it was restarted
    encoded = encoder.encode(second)
    if encoded.kind is Kind.DIFFERENCES:
        with pytest.raises(KeyWanted):
            receiver.take(encoder, encoded)
    receiver.take(encoder, encoder.encode_again(second))
    np.testing.assert_array_equal(receiver.features, edge.features(second))


def test_a_server_that_cannot_decode_zstd_gets_zlib() -> None:
    encoder, receiver = FeatureEncoder("a", Edge(proof(), compute)), Receiver()
    frame = next(frames(9))
    assert encoder.encode(frame).content.coded.tobytes().startswith(ZSTD)
    encoder.cannot_decode()
    again = encoder.encode_again(frame)
    assert not again.content.coded.tobytes().startswith(ZSTD)
    receiver.take(encoder, again)


def test_a_runtime_that_is_wrong_is_not_run() -> None:
    def off_by(steps: int, share: float) -> object:
        def wrong(pixels: np.ndarray) -> np.ndarray:
            features = compute(pixels).reshape(-1).copy()
            features[: int(share * features.size)] -= np.int8(steps)
            return features

        return wrong

    Edge(proof(), off_by(1, 0.9))  # type: ignore[arg-type]  # rounded otherwise
    for wrong in (off_by(2, 0.9), off_by(MOST_STEPS + 1, 0.02)):
        with pytest.raises(DetectionError, match=rf"apart from its proof .*; {MEAN_STEPS:g} and {MOST_STEPS} are"):
            Edge(proof(), wrong)  # type: ignore[arg-type]
    with pytest.raises(DetectionError, match="steps of INT8 apart"):
        Edge(proof(), lambda pixels: compute(pixels[:, ::-1]))  # blue for red
    with pytest.raises(DetectionError, match=r"gives float32 \[1728\], not int8 \[1728\]"):
        Edge(proof(), lambda pixels: compute(pixels).astype(np.float32))  # type: ignore[arg-type]


def test_a_proof_is_read_as_it_was_written_and_damage_is_told(tmp_path: Path) -> None:
    graph = tmp_path / "edge.onnx"
    with pytest.raises(DetectionError, match=r"cannot read .*edge.onnx: No such file .* `triton-yolo export --split`"):
        EdgeProof.beside(graph)
    graph.write_bytes(b"graph")
    with pytest.raises(DetectionError, match=r"cannot read .*edge.proof.npz"):
        EdgeProof.beside(graph)
    (tmp_path / "edge.proof.npz").write_bytes(dataclasses.replace(proof(), graph_sha256="another").to_bytes())
    with pytest.raises(DetectionError, match="is the proof of another graph"):
        EdgeProof.beside(graph)
    right = dataclasses.replace(proof(), graph_sha256=hashlib.sha256(b"graph").hexdigest())
    (tmp_path / "edge.proof.npz").write_bytes(right.to_bytes())
    again = EdgeProof.beside(graph)
    assert (again.network, again.letterbox) == (right.network, right.letterbox)
    np.testing.assert_array_equal(again.pixels, right.pixels)
    np.testing.assert_array_equal(again.features, right.features)
    (tmp_path / "edge.proof.npz").write_bytes(right.to_bytes()[:200])
    with pytest.raises(DetectionError, match="is no proof of an edge half, or damaged"):
        EdgeProof.beside(graph)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tolerance": -1}, "tolerance must be from 0 to 127"),
        ({"tolerance": 128}, "tolerance must be from 0 to 127"),
        ({"key_interval": 0}, "key_interval must be 1 frame or more"),
        ({"most_noise": -1.0}, "most_noise must be 0"),
    ],
    ids=["negative", "large", "interval", "noise"],
)
def test_arguments_that_are_out_of_range_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(DetectionError, match=words):
        FeatureEncoder("a", Edge(proof(), compute), **options)  # type: ignore[arg-type]
