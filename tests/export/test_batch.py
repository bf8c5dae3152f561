"""Networks whose batch size is let free, held against the originals image by image."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper, parser

from tests.export.layouts import FAMILIES, network
from triton_yolo.export.batch import OPSET, with_free_batch
from triton_yolo.export.errors import ExportError
from triton_yolo.export.network import Network, prepare
from triton_yolo.graphs.structure import opset_of

SIZE = (96, 160)  # 315 anchors, just enough for the best 300
Outputs = list[npt.NDArray[np.float32]]


def free(network: Network) -> onnx.ModelProto:
    """With all of its outputs."""
    return with_free_batch(network, tuple(network.outputs))


@cache
def images(count: int, height: int, width: int) -> npt.NDArray[np.float32]:
    """Pictures that have nothing in common: of another brightness and another coarseness each."""
    rng = np.random.default_rng(7)
    made = []
    for i in range(count):
        coarse = rng.random((3, height // 8, width // 8)).repeat(8, 1).repeat(8, 2)
        made.append(coarse * (i + 1) / count * 0.7 + rng.random((3, height, width)) * 0.3)
    return np.array(made, np.float32)


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def one_by_one(model: onnx.ModelProto, pictures: npt.NDArray[np.float32]) -> Outputs:
    """What the file itself answers to each image, in a batch of nothing but it where the file has a fixed batch."""
    runs, [source] = session(model), model.graph.input
    batch = source.type.tensor_type.shape.dim[0].dim_value or 1
    rows = [runs.run(None, {source.name: picture[None].repeat(batch, 0)}) for picture in pictures]
    return [np.stack([row[i][0] for row in rows]) for i in range(len(rows[0]))]


def at_once(model: onnx.ModelProto, pictures: npt.NDArray[np.float32]) -> Outputs:
    return session(model).run(None, {model.graph.input[0].name: pictures})


def assert_same_rows(found: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> None:
    """Every final row has its like on the other side, wherever equal scores have put it."""
    np.testing.assert_allclose(found[:, 4], wanted[:, 4], atol=1e-5)
    last = wanted[-1, 4] + 1e-4  # of those that tie with the last one, either side may have left out others
    for these, those in ((found, wanted), (wanted, found)):
        apart = np.abs(these[these[:, 4] > last, None] - those[None]).max(2)
        assert len(apart) > 30
        assert apart.min(1).max() < 1e-2


def graph(
    batch: int | str, body: str, constants: Mapping[str, npt.ArrayLike] | None = None, opset: int = 20
) -> onnx.ModelProto:
    """A network from `images` to `y` that begins with a convolution `m` of [batch, 8, 4, 8]."""
    model = parser.parse_model(f"""<ir_version: 8, opset_import: ["" : {opset}]>
        net (float[{batch}, 3, 32, 64] images) => (float y)
        {{ m = Conv <strides = [8, 8]> (images, weights) {body} }}""")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    weights = np.random.default_rng(0).normal(size=(8, 3, 8, 8)).astype(np.float32) / 10
    for name, value in {"weights": weights, **(constants or {})}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    for node in model.graph.node:
        node.name = f"/{node.output[0]}/{node.op_type}"
    return model


def refusal(model: onnx.ModelProto) -> str:
    prepared = prepare(model, None)
    with pytest.raises(ExportError) as caught:
        free(prepared)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The families


@pytest.mark.parametrize("opset", [18, 20])
@pytest.mark.parametrize("batch", [1, 4, None])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_batch_answers_as_the_original_does_image_by_image(name: str, batch: int | None, opset: int) -> None:
    model = network(FAMILIES[name], SIZE, 3, batch, opset)
    freed = free(prepare(model, None))
    assert [value.name for value in freed.graph.output] == [value.name for value in model.graph.output]
    for count in (1, 2, 5):
        pictures = images(count, *SIZE)
        if FAMILIES[name].input.endswith("255"):
            pictures = pictures * np.float32(255)
        found, wanted = at_once(freed, pictures), one_by_one(model, pictures)
        for array, other in zip(found, wanted, strict=True):
            assert (array.shape, array.dtype) == (other.shape, other.dtype)
            assert count == 1 or np.abs(other[0] - other[1]).max() > 0.1  # else another image's answer would pass
            if name == "yolov10":
                for rows, others in zip(array, other, strict=True):
                    assert_same_rows(rows, others)
            else:
                np.testing.assert_allclose(array, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 4, None])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_interface_has_a_free_batch_size_and_nothing_else_free(name: str, batch: int | None) -> None:
    prepared = prepare(network(FAMILIES[name], SIZE, 3, batch), None)
    freed = free(prepared)
    onnx.checker.check_model(freed, full_check=True)
    shapes = {"images": (3, *SIZE), **prepared.outputs}
    for value in (*freed.graph.input, *freed.graph.output):
        first, *rest = value.type.tensor_type.shape.dim
        assert first.dim_param and not first.HasField("dim_value")
        assert tuple(d.dim_value for d in rest) == shapes[value.name]


@pytest.mark.parametrize("opset", [18, 20])
@pytest.mark.parametrize("batch", [1, 4, None])
def test_the_original_is_untouched(batch: int | None, opset: int) -> None:
    model = network(FAMILIES["yolov5"], SIZE, 3, batch, opset)
    prepared = prepare(model, None)
    before = model.SerializeToString(), prepared.original.model.SerializeToString()
    free(prepared)
    assert (model.SerializeToString(), prepared.original.model.SerializeToString()) == before


# The operator set


@pytest.mark.parametrize(("opset", "raised"), [(18, 19), (19, 19), (20, 20), (21, 21), (22, 22)])
@pytest.mark.parametrize("batch", [1, None])
def test_an_old_operator_set_is_raised_and_a_newer_one_stays(opset: int, raised: int, batch: int | None) -> None:
    freed = free(prepare(network(FAMILIES["yolov8"], SIZE, 3, batch, opset), None))
    assert [(o.domain, o.version) for o in freed.opset_import] == [("", raised)]
    assert raised >= OPSET


OLD = """
    a, b = Split <axis = 1, split = [4, 4]> (m)
    c = Concat <axis = 1> (b, a)
    up = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">
        (c, roi, scales)
    best = ReduceMax <axes = [1], keepdims = 1> (up)
    s = Squeeze <axes = [1]> (best)
    u = Unsqueeze <axes = [1]> (s)
    t = Add (up, u)
    y = Reshape (t, shape)
"""


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("opset", [11, 12])  # YOLOv5's and YOLOX's defaults
def test_operators_whose_attributes_became_inputs_are_raised_too(opset: int, batch: int) -> None:
    constants: dict[str, npt.ArrayLike] = {
        "roi": np.empty(0, np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "shape": np.array([batch, 8, 128]),
    }
    model = graph(batch, OLD, constants, opset)
    freed = free(prepare(model, None))
    assert opset_of(freed) == OPSET
    pictures = images(5, 32, 64)
    np.testing.assert_allclose(at_once(freed, pictures)[0], one_by_one(model, pictures)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 4, "N"])
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_the_old_softmax_over_all_axes_from_one_on_stays_what_it_was(axis: int, batch: int | str) -> None:
    model = graph(batch, f"y = Softmax <axis = {axis}> (m)", opset=12)
    pictures = images(5, 32, 64)
    wanted = one_by_one(model, pictures)[0]
    np.testing.assert_allclose(wanted.sum(tuple(range(axis, 4))), 1, rtol=1e-5)
    np.testing.assert_allclose(at_once(free(prepare(model, None)), pictures)[0], wanted, rtol=1e-5)


def test_a_network_that_is_not_the_same_in_the_newer_operator_set_is_refused() -> None:
    model = graph(1, "y = Hardmax <axis = 1> (m)", opset=12)  # of all axes from 1 on; from operator set 13 on of one
    assert refusal(model)


# What follows the batch

# Attention over areas of the image, as in https://github.com/sunsmarterjie/yolov12: [B, L, C] -> [4 B, L / 4, C].
AREAS = """
    flat = Reshape (m, flat_shape)
    rows = Transpose <perm = [0, 2, 1]> (flat)
    areas = Reshape (rows, areas_shape)
    columns = Transpose <perm = [0, 2, 1]> (areas)
    products = MatMul (areas, columns)
    shares = Softmax <axis = -1> (products)
    mixed = MatMul (shares, areas)
    y = Reshape (mixed, rows_shape)
"""


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_attention_over_areas_is_freed(batch: int) -> None:
    shapes: dict[str, npt.ArrayLike] = {
        "flat_shape": [batch, 8, 32],
        "areas_shape": [batch * 4, 8, 8],
        "rows_shape": [batch, 32, 8],
    }
    model = graph(batch, AREAS, shapes)
    freed = free(prepare(model, None))
    for count in (1, 2, 5):
        pictures = images(count, 32, 64)
        wanted = one_by_one(model, pictures)[0]
        np.testing.assert_allclose(at_once(freed, pictures)[0], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_shape_of_constants_alone_stays(batch: int) -> None:
    body = "offset = Reshape (row, shape) y = Add (m, offset)"
    model = graph(batch, body, {"row": np.arange(8, dtype=np.float32), "shape": [1, 8, 1, 1]})
    freed = free(prepare(model, None))
    pictures = images(5, 32, 64)
    np.testing.assert_allclose(at_once(freed, pictures)[0], one_by_one(model, pictures)[0], rtol=1e-5, atol=1e-6)


def test_a_shape_that_is_shared_is_let_free_for_the_images_alone() -> None:
    body = "offset = Reshape (row, shape) flat = Reshape (m, shape) y = Add (flat, offset)"
    model = graph(1, body, {"row": np.arange(256, dtype=np.float32), "shape": [1, 8, 32]})
    freed = free(prepare(model, None))
    pictures = images(5, 32, 64)
    np.testing.assert_allclose(at_once(freed, pictures)[0], one_by_one(model, pictures)[0], rtol=1e-5, atol=1e-4)


# What cannot be freed

EXPORT = ("dynamic=True", "--dynamic", "dynamic_axes")
INDICES = np.stack(np.meshgrid([0], range(8), range(4), range(8), indexing="ij"), -1)
TIED: dict[str, tuple[str, dict[str, npt.ArrayLike]]] = {
    "Concat": ("y = Concat <axis = 1> (m, c)", {"c": np.ones((1, 1, 4, 8), np.float32)}),
    "ScatterND": ("y = ScatterND (z, i, m)", {"z": np.zeros((1, 8, 4, 8), np.float32), "i": INDICES}),
}


@pytest.mark.parametrize("operator", TIED)
def test_an_operator_with_a_constant_of_one_image_is_named_with_the_way_out(operator: str) -> None:
    body, constants = TIED[operator]
    message = refusal(graph(1, body, constants))
    assert message.startswith(f"the operator {operator} /y/{operator} ties the network to its batch size of 1: ")
    for option in EXPORT:
        assert option in message


def test_a_constant_of_as_many_images_as_the_batch_is_refused() -> None:
    message = refusal(graph(4, "y = Add (m, c)", {"c": np.ones((4, 8, 4, 8), np.float32)}))
    assert message.startswith("the operator Add /y/Add ties the network to its batch size of 4: ")


@pytest.mark.parametrize(
    ("body", "constants"),
    [
        pytest.param("y = Softmax <axis = 0> (m)", {}, id="softmax"),
        pytest.param("a = ReduceMean (m, zero) y = Sub (m, a)", {"zero": [0]}, id="mean"),
        pytest.param("y = ReduceMax (m, zero)", {"zero": [0]}, id="one answer to all"),
        pytest.param("y = CumSum (m, first)", {"first": 0}, id="running sum"),
        pytest.param("y = Gather <axis = 0> (m, zeros)", {"zeros": [0, 0]}, id="the first for the second"),
        pytest.param(
            "f = Reshape (m, rows) t = Transpose <perm = [2, 0, 1]> (f) y = Reshape (t, turned)",
            {"rows": [1, 8, 32], "turned": [32, 1, 8]},
            id="the batch is not the first dimension",
        ),
        pytest.param('y = Resize <mode = "nearest"> (m, , , sizes)', {"sizes": [1, 8, 8, 16]}, id="resized to one"),
    ],
)
def test_a_network_that_mixes_its_images_is_refused(body: str, constants: dict[str, npt.ArrayLike]) -> None:
    message = refusal(graph(1, body, constants))
    assert message.startswith("the network mixes the images of a batch: of two images its output y [")
    for option in EXPORT:
        assert option in message


def test_scores_that_are_mixed_are_seen_beside_boxes_of_hundreds_of_pixels() -> None:
    body = """
        flat = Reshape (m, shape)
        part, logits = Split <axis = 1, num_outputs = 2> (flat)
        boxes = Mul (part, size)
        mean = ReduceMean (logits, zero)
        apart = Sub (logits, mean)
        scores = Sigmoid (apart)
        y = Concat <axis = 1> (boxes, scores)
    """
    model = graph(1, body, {"shape": [1, 8, 32], "size": np.float32(640), "zero": [0]})
    assert "mixes the images" in refusal(model)


@pytest.mark.parametrize("opset", [18, 20])
def test_a_free_batch_that_the_graph_does_not_keep_is_refused(opset: int) -> None:
    message = refusal(graph("N", "y = Reshape (m, shape)", {"shape": [1, 8, 32]}, opset))
    assert message.startswith("the operator Reshape /y/Reshape ties the network to its batch size")


def test_outputs_that_are_not_wanted_tie_nothing() -> None:
    """A second output that only one image can have, as of a suppression beside the predictions."""
    model = network(FAMILIES["yolov8"], SIZE, 3, 1)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((1, 3, *SIZE), np.float32), "fixed"))
    model.graph.node.append(onnx.helper.make_node("Concat", ["images", "fixed"], ["other"], axis=1))
    model.graph.output.append(onnx.helper.make_tensor_value_info("other", onnx.TensorProto.FLOAT, [1, 6, *SIZE]))
    prepared = prepare(model, None)
    with pytest.raises(ExportError, match="Concat"):
        free(prepared)
    alone = with_free_batch(prepared, ("output0",))
    assert [output.name for output in alone.graph.output] == ["output0"]
    assert not [node for node in alone.graph.node if node.op_type == "Concat" and "fixed" in node.input]
