"""What a graph's proof catches, and what it lets pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from tests.conftest import REPOSITORY
from triton_yolo.export.proof_maker import PICTURES, make_proof
from triton_yolo.export.samples import samples
from triton_yolo.export.served_model import served_model_of
from triton_yolo.export.served_proof import SUFFIX, ProofError, ServedProof, proof_of
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.graphs.quantisers import without_quantisers
from triton_yolo.graphs.runner import Runner
from triton_yolo.graphs.structure import makers_of
from triton_yolo.nms.thresholds import Thresholds
from triton_yolo.repository import GRAPH_PATH

Floats = npt.NDArray[np.float32]
DEFAULT = REPOSITORY / GRAPH_PATH


@pytest.fixture(scope="module")
def proof() -> ServedProof:
    return ServedProof.carried_by(DEFAULT)


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    return read_network(DEFAULT)


def candidates(graph: onnx.ModelProto, pixels: npt.NDArray[np.uint8]) -> list[Floats]:
    runner = Runner(graph)
    return [runner.run(np.ascontiguousarray(picture[None]))["candidates"][0] for picture in pixels]


def scaled(graph: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The graph with the weights of one convolution 1.5 times as large."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    makers = makers_of(copy)
    tensors = {tensor.name: tensor for tensor in copy.graph.initializer}
    weights = next(node for node in copy.graph.node if node.name.endswith(name)).input[1]
    if weights not in tensors:
        weights = makers[weights].input[1]  # the scales of a DequantizeLinear
    array = numpy_helper.to_array(tensors[weights])
    tensors[weights].CopyFrom(numpy_helper.from_array((array * 1.5).astype(array.dtype), weights))
    return copy


def test_the_reference_finds_what_it_found(proof: ServedProof, graph: onnx.ModelProto) -> None:
    """Not to the bit: ONNX Runtime has other kernels on other processors."""
    comparison = proof.compare(candidates(graph, proof.pixels), "float32")
    assert comparison.holds, comparison
    assert comparison.detections >= 20, "of fewer, a proof says little"


def test_the_same_weights_without_quantisers_pass(proof: ServedProof, graph: onnx.ModelProto) -> None:
    """As a GPU computes them, and a processor whose INT8 is wrong."""
    found = candidates(without_quantisers(graph), proof.pixels)
    assert proof.compare(found, "float32").holds
    strict = dataclasses.replace(proof, arithmetic="float32")
    assert not strict.compare(found, "float32").holds, "what INT8 takes from a graph is more than float32 may"


@pytest.mark.parametrize("name", ["backbone/conv0/conv/Conv", "elan3/cv1/conv/Conv", "cv2.0.2/Conv", "cv3.0.2/Conv"])
def test_scaled_weights_are_caught(name: str, proof: ServedProof, graph: onnx.ModelProto) -> None:
    """At the network's beginning, in its middle, and in front of boxes and scores."""
    comparison = proof.compare(candidates(scaled(graph, name), proof.pixels), "float32")
    assert not comparison.holds, comparison


def test_swapped_planes_are_caught(proof: ServedProof, graph: onnx.ModelProto) -> None:
    comparison = proof.compare(candidates(graph, proof.pixels[:, ::-1]), "float32")
    assert not comparison.holds, comparison


@pytest.mark.slow
def test_another_graph_is_caught(proof: ServedProof, float_default: Path) -> None:
    """Even the float graph that the INT8 graph was made from: its proof is another, and its answers are near."""
    other = ServedProof.carried_by(float_default / GRAPH_PATH)
    assert other.graph_sha256 != proof.graph_sha256
    rolled = candidates(read_network(float_default / GRAPH_PATH), np.roll(proof.pixels, 1, axis=0))
    assert not proof.compare(rolled, "float32").holds


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda rows: np.zeros_like(rows), "nothing is found"),
        (lambda rows: np.full_like(rows, np.nan), "numbers are undefined"),
        (lambda rows: rows * [1, 1, 1, 1, 0.9, 1], "scores are too low"),
        (lambda rows: rows + np.array([4, 0, 4, 0, 0, 0]), "boxes have moved"),
        (lambda rows: np.column_stack([rows[:, :5], (rows[:, 5] + 1) % 6]), "classes have changed"),
        (lambda rows: rows[np.abs(rows[:, 0] - rows[0, 0]) > 20], "one detection is missing"),
        (lambda rows: np.concatenate([[[1, 1, 30, 30, 0.9, 0]], rows]), "one is too many"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_wrong_runtime_may_do_is_caught(
    change: Callable[[Floats], Floats], why: str, proof: ServedProof, graph: onnx.ModelProto
) -> None:
    found = [np.asarray(change(rows), np.float32) for rows in candidates(graph, proof.pixels)]
    assert not proof.compare(found, "float32").holds, why


def test_two_candidates_that_tie_may_change_places() -> None:
    one, other = [10, 10, 50, 50, 0.8, 0], [11, 10, 51, 50, 0.799, 0]
    rows = np.array([one, other], np.float32)
    swapped = np.array([[*other[:4], 0.8001, 0], one], np.float32)
    proof = ServedProof(np.zeros((1, 3, 8, 8), np.uint8), (rows,), "", "float32", 0.25, 0.45)
    assert proof.compare([swapped], "float32").holds
    assert not proof.compare([swapped[:1]], "float32").holds


class TestFile:
    def test_the_same_pictures_give_the_same_bytes(self, proof: ServedProof, graph: onnx.ModelProto) -> None:
        letterbox = served_model_of(graph, DEFAULT).letterbox
        pictures = samples(None, letterbox)[:2]
        small = without_quantisers(graph)
        one, other = (make_proof(small, b"graph", pictures, Thresholds(0.25, 0.45)).to_bytes() for _ in range(2))
        assert one == other

    def test_it_is_small_and_comes_back(self, proof: ServedProof, tmp_path: Path) -> None:
        content = proof.to_bytes()
        assert len(content) < 500_000
        (tmp_path / f"model{SUFFIX}").write_bytes(content)
        again = ServedProof.read(tmp_path / f"model{SUFFIX}")
        assert again.to_bytes() == content
        np.testing.assert_array_equal(again.pixels, proof.pixels)
        assert len(again.pixels) == PICTURES

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"])
    def test_a_damaged_one_is_called_so(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "model.proof.npz"
        path.write_bytes(content)
        with pytest.raises(ProofError, match=r"model\.proof\.npz is no proof, or a damaged one"):
            ServedProof.read(path)

    def test_it_belongs_to_one_graph(self, proof: ServedProof, tmp_path: Path) -> None:
        graph = tmp_path / "model.onnx"
        graph.write_bytes(b"another")
        with pytest.raises(ProofError, match=r"is missing.*triton-yolo prove .*model\.onnx --images DIR"):
            ServedProof.carried_by(graph)
        proof_of(graph).write_bytes(proof.to_bytes())
        with pytest.raises(ProofError, match="is the proof of another graph"):
            ServedProof.carried_by(graph)
