"""The default model's half beside the camera, in whatever arithmetic is right on this processor."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from triton_yolo.clients.stream.edge import MEAN_STEPS, Edge, EdgeProof
from triton_yolo.contract import FEATURES
from triton_yolo.export.served_proof import ServedProof
from triton_yolo.export.split.cut import find_cut
from triton_yolo.export.split.halves import cut_in_two
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.graphs.runner import Runner
from triton_yolo.repository import GRAPH_PATH, read_served_model


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The half of the default graph, with its proof."""
    path = tmp_path_factory.mktemp("edge") / "edge.onnx"
    whole, pixels = (
        read_network(REPOSITORY / GRAPH_PATH),
        ServedProof.carried_by(REPOSITORY / GRAPH_PATH).pixels[[0, 3]],
    )
    halves = cut_in_two(whole, find_cut(whole), pixels)
    content = halves.edge.SerializeToString()
    path.write_bytes(content)
    features = np.concatenate([Runner(halves.edge).run(one[None])[FEATURES] for one in pixels])
    digest = hashlib.sha256(content).hexdigest()
    proof = EdgeProof(halves.network, read_served_model().letterbox, pixels, features, digest)
    (path.parent / "edge.proof.npz").write_bytes(proof.to_bytes())
    return path


@pytest.mark.computes
def test_it_is_right_here_whichever_arithmetic_that_takes(graph: Path) -> None:
    edge = Edge.load(graph)
    apart = np.abs(edge._compute(edge.proof.pixels[:1]).reshape(-1).astype(int) - edge.proof.features[0])
    assert apart.mean() < MEAN_STEPS / 2
