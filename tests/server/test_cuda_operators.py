"""Operators that CUDA computes faster, against those they replace; on the CPU, but for rounding."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from triton_yolo.server.runtimes.onnxruntime_cuda import cuda_operators
from triton_yolo.server.runtimes.onnxruntime_cuda.cuda_operators import with_cuda_operators

HALF = {"kernel_shape": [2, 2]}


def network(
    pooling: dict[str, Any], sizes: tuple[Any, ...] = ("N", 3, 12, 10), opset: int = 20, kind: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    """Cast, convolution, average, convolution without a bias, convolution: uint8 to four channels."""
    rng = np.random.default_rng(0)
    planes = sizes[1] if isinstance(sizes[1], int) else 3
    shapes = {"w1": (8, planes, 3, 3), "b1": (8,), "w2": (6, 8, 3, 3), "w3": (4, 6, 1, 1), "b3": (4,)}
    nodes = [
        helper.make_node("Cast", ["images"], ["x"], to=kind),
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "first", pads=[1] * 4),
        helper.make_node("AveragePool", ["c1"], ["p"], "pool", **pooling),
        helper.make_node("Conv", ["p", "w2"], ["c2"], "second", pads=[1] * 4),
        helper.make_node("Conv", ["c2", "w3", "b3"], ["y"], "third"),
    ]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    weights = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    return model_of(nodes, weights, sizes, opset, kind)


def model_of(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    sizes: tuple[Any, ...] = ("N", 3, 12, 10),
    opset: int = 20,
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """From uint8 ``images`` to ``y``."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, sizes)],
        [helper.make_tensor_value_info("y", kind, list("Ncij"))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


def pictures(planes: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, planes, 12, 10), np.uint8)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16], ids=["float32", "float16"])
@pytest.mark.parametrize("opset", [13, 20])
def test_averages_and_planes_are_said_otherwise(opset: int, kind: int) -> None:
    model = network(HALF, opset=opset, kind=kind)
    fast = with_cuda_operators(model)
    onnx.checker.check_model(fast, full_check=True)
    assert not operators(fast)["AveragePool"]
    assert operators(fast) - operators(model) == Counter(Conv=1, Split=1, Reshape=3, Concat=1, Transpose=1)
    before, after = run(model, pictures()), run(fast, pictures())
    assert np.abs(before).max() > 10
    np.testing.assert_allclose(after, before, rtol=2e-6 if kind == TensorProto.FLOAT else 2e-3, atol=0.01)


@pytest.mark.parametrize(
    "pooling",
    [
        {"kernel_shape": [3, 3]},
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]},
        {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [2, 2], "dilations": [2, 2]},
    ],
    ids=str,
)
def test_other_averages_stay(pooling: dict[str, Any]) -> None:
    model = network(pooling)
    fast = with_cuda_operators(model)
    assert operators(fast)["AveragePool"] == 1
    np.testing.assert_allclose(run(fast, pictures()), run(model, pictures()), rtol=2e-6, atol=1e-3)


@pytest.mark.parametrize("sizes", [("N", 4, 12, 10), ("N", 1, 12, 10)], ids=str)
def test_inputs_of_other_planes_stay(sizes: tuple[Any, ...]) -> None:
    model = network(HALF, sizes)
    fast = with_cuda_operators(model)
    assert not operators(fast)["Transpose"]
    images = pictures(sizes[1])
    np.testing.assert_allclose(run(fast, images), run(model, images), rtol=2e-6, atol=1e-3)


def enlarging(
    how: dict[str, Any], scales: list[float] | None = None, sizes: list[int] | None = None
) -> onnx.ModelProto:
    """Cast, convolution, Resize: uint8 to three channels of another size."""
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(size=(3, 3, 1, 1)).astype(np.float32)}
    if scales:
        constants["scales"] = np.array(scales, np.float32)
    if sizes:
        constants["sizes"] = np.array(sizes, np.int64)
    nodes = [
        helper.make_node("Cast", ["images"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["x", "w"], ["c"], "first"),
        helper.make_node("Resize", ["c", "", "scales" if scales else "", *(["sizes"] if sizes else [])], ["y"], **how),
    ]
    return model_of(nodes, constants)


REPEATED = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


@pytest.mark.parametrize("scales", [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 3.0, 1.0]], ids=str)
def test_pixels_are_repeated_without_a_resize(scales: list[float]) -> None:
    model = enlarging(REPEATED, scales)
    fast = with_cuda_operators(model)
    onnx.checker.check_model(fast, full_check=True)
    assert not operators(fast)["Resize"]
    np.testing.assert_array_equal(run(fast, pictures()), run(model, pictures()))


@pytest.mark.parametrize(
    ("how", "scales", "sizes"),
    [
        ({"mode": "linear"}, [1.0, 1.0, 2.0, 2.0], None),
        ({**REPEATED, "nearest_mode": "ceil"}, [1.0, 1.0, 2.0, 2.0], None),
        (REPEATED, [1.0, 1.0, 1.5, 2.0], None),
        (REPEATED, [1.0, 2.0, 2.0, 2.0], None),
        (REPEATED, None, [2, 3, 24, 20]),
    ],
    ids=str,
)
def test_other_ways_to_enlarge_stay(how: dict[str, Any], scales: list[float] | None, sizes: list[int] | None) -> None:
    model = enlarging(how, scales, sizes)
    fast = with_cuda_operators(model)
    assert operators(fast)["Resize"] == 1
    np.testing.assert_array_equal(run(fast, pictures()), run(model, pictures()))


def test_an_average_of_very_many_channels_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_operators, "MOST_CHANNELS", 7)
    assert operators(with_cuda_operators(network(HALF)))["AveragePool"] == 1
