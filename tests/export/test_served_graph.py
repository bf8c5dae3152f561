"""The graph that wraps a network, run by ONNX Runtime and worked out in NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper, parser

from export.served_graph import IR_VERSION, served_graph

SIDE, GRID = 32, 8  # a network of 32x32 pixels with 64 anchors


def network(classes: int = 3, seed: int = 0, opset: int = 20) -> onnx.ModelProto:
    """One convolution whose channels are box and scores; scores may tie only by chance."""
    features = 4 + classes
    model = parser.parse_model(f"""<ir_version: 10, opset_import: ["" : {opset}]>
        net (float[N, 3, {SIDE}, {SIDE}] input) => (float[N, {features}, {GRID * GRID}] output)
        <int64[3] flat = {{0, {features}, {GRID * GRID}}}>
        {{
            raw = Conv <kernel_shape = [4, 4], strides = [4, 4]> (input, weights)
            output = Reshape (raw, flat)
        }}""")
    weights = np.random.default_rng(seed).normal(size=(features, 3, 4, 4)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "weights"))
    return model


def run(model: onnx.ModelProto, array: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: array})[0]


def images(count: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, 3, SIDE, SIDE), np.uint8)


@pytest.mark.parametrize("count", [1, 2, 5])  # the batch size stays free
@pytest.mark.parametrize("classes", [1, 3, 80])
def test_the_candidates_are_the_networks_best_rows(count: int, classes: int) -> None:
    model = network(classes)
    pixels = images(count)
    raw = run(model, pixels.astype(np.float32) * np.float32(1 / 255))  # [N, 4 + classes, A]
    candidates = run(served_graph(model, top_k=10), pixels)
    assert (candidates.shape, candidates.dtype) == ((count, 10, 6), np.float32)
    for got, rows in zip(candidates, raw.transpose(0, 2, 1), strict=True):
        best = np.argsort(-rows[:, 4:].max(1))[:10]
        np.testing.assert_allclose(got[:, :4], rows[best, :4], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(got[:, 4], rows[best, 4:].max(1), rtol=1e-5)
        np.testing.assert_array_equal(got[:, 5], rows[best, 4:].argmax(1))
        assert (np.diff(got[:, 4]) <= 0).all()


def test_all_anchors_may_be_asked_for() -> None:
    assert run(served_graph(network(), GRID * GRID), images(1)).shape == (1, GRID * GRID, 6)


def test_the_interface_has_names_types_and_a_free_batch_size() -> None:
    graph = served_graph(network(), 10).graph
    [source], [sink] = graph.input, graph.output
    assert (source.name, source.type.tensor_type.elem_type) == ("images", onnx.TensorProto.UINT8)
    assert (sink.name, sink.type.tensor_type.elem_type) == ("candidates", onnx.TensorProto.FLOAT)
    for value, dims in [(source, [3, SIDE, SIDE]), (sink, [10, 6])]:
        batch, *rest = value.type.tensor_type.shape.dim
        assert batch.dim_param
        assert [d.dim_value for d in rest] == dims


def test_the_network_itself_is_untouched() -> None:
    model = network()
    before = model.SerializeToString()
    served = served_graph(model, 10)
    assert model.SerializeToString() == before
    [weights] = [t for t in served.graph.initializer if t.name.endswith("weights")]
    assert weights.raw_data == model.graph.initializer[-1].raw_data
    assert served.ir_version == IR_VERSION
    assert {o.version for o in served.opset_import} == {20}


def test_a_name_of_the_network_may_be_one_of_the_wrappers() -> None:
    model = network()
    for tensors in (model.graph.node[0].output, model.graph.node[1].input):
        for i, name in enumerate(tensors):
            if name == "raw":
                tensors[i] = "rows"  # also the name of the transposed predictions
    np.testing.assert_array_equal(run(served_graph(model, 10), images(1)), run(served_graph(network(), 10), images(1)))


@pytest.mark.parametrize(
    ("interface", "body", "complaint"),
    [
        ("(float[N,1,8,8] x) => (float[N,6,64] y)", "s = Constant<value_ints=[0,6,64]>() y = Reshape(x, s)", "N, 1, 8"),
        (
            "(float[N,3,8,8] x) => (float[N,4,48] y)",
            "s = Constant<value_ints=[0,4,48]>() y = Reshape(x, s)",
            "N, 4, 48",
        ),
        ("(float[N,3,8,8] x) => (float[N,24,8] y)", "s = Constant<value_ints=[0,24,8]>() y = Reshape(x, s)", "A >= 10"),
        ("(float[N,3,8,8] x, float[N] z) => (float[N,3,8,8] y)", "y = Identity(x)", "one input and one output"),
        (
            "(float[N,3,8,8] x) => (float[N,3,8,8] y, float[N,3,8,8] z)",
            "y = Identity(x) z = Neg(x)",
            "one input and one",
        ),
    ],
    ids=["grey", "no classes", "too few anchors", "two inputs", "two outputs"],
)
def test_another_interface_is_refused(interface: str, body: str, complaint: str) -> None:
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 20]> net {interface} {{ {body} }}')
    with pytest.raises(ValueError, match=complaint):
        served_graph(model, 10)
