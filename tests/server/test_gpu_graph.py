"""What a served graph becomes on a GPU; computed here on the CPU, which gives the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.conftest import REPOSITORY
from tests.server.references import letterbox
from triton_yolo.boards import draw_board
from triton_yolo.graphs.quantisers import without_quantisers
from triton_yolo.server.errors import ServerError
from triton_yolo.server.runtimes.onnxruntime_cuda.graph import gpu_graph

GRAPH = REPOSITORY / "yolo" / "1" / "model.onnx"


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {model.graph.input[0].name: images})[0]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Two boards, uint8 [2, 3, 640, 640]."""
    return np.stack([letterbox(draw_board(seed, 1280, 960, "photo").image) for seed in range(2)])


@pytest.mark.parametrize("kind", ["int8", "float"])
def test_convolutions_compute_in_float16_and_boxes_are_decoded_in_float32(kind: str, float_default: Path) -> None:
    graph = gpu_graph(GRAPH if kind == "int8" else float_default / "yolo" / "1" / "model.onnx")
    onnx.checker.check_model(graph, full_check=True)
    weights = {tensor.name: tensor.data_type for tensor in graph.graph.initializer}
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    half = [node for node in convolutions if weights[node.input[1]] == TensorProto.FLOAT16]
    assert len(half) > 0.9 * len(convolutions)
    assert not {node.op_type for node in graph.graph.node} & {"QuantizeLinear", "DequantizeLinear"}
    assert graph.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_the_float_graph_in_float16_gives_nearly_its_candidates(float_default: Path, images: np.ndarray) -> None:
    path = float_default / "yolo" / "1" / "model.onnx"
    wanted, got = run(onnx.load(path), images), run(gpu_graph(path), images)
    for one, other in zip(wanted, got, strict=True):
        sure = one[one[:, 4] > 0.5]
        assert len(sure) > 10
        for row in sure:  # rows of nearly the same score may change places
            assert (np.abs(other - row) <= [0.5, 0.5, 0.5, 0.5, 0.01, 0]).all(1).any(), row


def test_a_graph_without_pairs_computes_what_float_weights_would() -> None:
    """One convolution whose weights and input are quantised: the weights keep their steps, the input has none."""
    rng = np.random.default_rng(0)
    steps = rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    scales = rng.random(4).astype(np.float32) / 100
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["steps", "scales"], ["w"], axis=0),
        helper.make_node("Conv", ["d", "w"], ["c"]),
        helper.make_node("Conv", ["d", "w"], ["e"]),  # a second reader of both
        helper.make_node("Add", ["c", "e"], ["y"]),
    ]
    constants = {"scale": np.float32(0.5), "zero": np.int8(0), "steps": steps, "scales": scales}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "graph",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 6])],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    bare = without_quantisers(model)
    assert [node.op_type for node in bare.graph.node] == ["Conv", "Conv", "Add"]
    assert {tensor.name for tensor in bare.graph.initializer} == {"w"}
    np.testing.assert_array_equal(numpy_helper.to_array(bare.graph.initializer[0]), steps * scales.reshape(-1, 1, 1, 1))
    whole = rng.integers(-60, 60, (1, 3, 8, 8)).astype(np.float32) / 2  # which the pairs keep as it is
    np.testing.assert_allclose(run(bare, whole), run(model, whole), rtol=1e-5, atol=1e-5)


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ServerError, match=str(path)):
        gpu_graph(path)
