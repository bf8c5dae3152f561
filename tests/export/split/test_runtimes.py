"""The halves in other runtimes than those of a CPU, as far as a machine without a GPU can tell."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from tests.export.split.necks import split_repository
from tests.export.test_plan import OPTIONS, plan
from triton_yolo.export.repository import EDGE, HEAD
from triton_yolo.export.served_proof import ServedProof
from triton_yolo.export.tensorrt import build, load_runtime
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.graphs.runner import Runner
from triton_yolo.server.runtimes.onnxruntime_cuda.graph import gpu_graph


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return split_repository(tmp_path_factory.mktemp("halves") / "repository")


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT for RTX is not installed"
)
@pytest.mark.parametrize("half", [EDGE, HEAD], ids=["edge", "head"])
def test_tensorrt_builds_both_halves_with_their_int8_features(half: Path, repository: Path) -> None:
    assert len(build(load_runtime("tensorrt-rtx"), read_network(repository / half), OPTIONS).content) > 1000


def test_the_server_half_rewritten_for_a_gpu_finds_what_its_proof_says(repository: Path) -> None:
    proof, graph = ServedProof.carried_by(repository / HEAD), gpu_graph(repository / HEAD)
    assert graph.graph.input[0].type.tensor_type.elem_type == TensorProto.INT8
    found = np.concatenate([*Runner(graph).run(proof.pixels).values()])
    assert proof.compare(list(found), "float16").holds


def test_a_plan_of_the_edge_half_is_refused_with_what_to_do(repository: Path) -> None:
    result = plan(repository / EDGE)
    assert result.returncode == 2
    assert "it is the half beside the camera" in result.stderr
    assert "trtexec" in result.stderr
