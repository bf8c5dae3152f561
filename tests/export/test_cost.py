"""What a network costs, against sums done by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from onnx import numpy_helper, parser

from triton_yolo.export.cost import cost_of
from triton_yolo.export.heads import HEADS
from triton_yolo.export.network import Network, prepare
from triton_yolo.export.pixels import PixelFormat
from triton_yolo.export.recognise import RecognisedNetwork
from triton_yolo.nms.letterbox import Letterbox


def network(
    body: str,
    batch: int | str,
    weights: Mapping[str, tuple[int, ...]] | None = None,
    kind: str = "float",
    outputs: Sequence[str] = ("y",),
) -> Network:
    """A network from [batch, 3, 8, 16] to `y`, with weights of these shapes."""
    model = parser.parse_model(f"""<ir_version: 10, opset_import: ["" : 20]>
        net ({kind}[{batch}, 3, 8, 16] images) => ({", ".join(f"{kind} {name}" for name in outputs)})
        {{ {body} }}""")
    dtype = np.float16 if kind == "float16" else np.float32
    for name, shape in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(np.full(shape, 0.1, dtype), name))
    return prepare(model, None)


def reading(*outputs: str) -> RecognisedNetwork:
    cells = np.empty((0, 3))
    return RecognisedNetwork(
        HEADS["yolov8"], outputs or ("y",), False, 1, ("a",), PixelFormat("rgb"), Letterbox(320, 320), cells
    )


BATCHES = [1, 4, "N"]
# operators, weights, multiplications of one image, parameters
COUNTED: dict[str, tuple[str, dict[str, tuple[int, ...]], int, int]] = {
    "convolution": (
        "y = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (images, w, b)",
        {"w": (4, 3, 3, 3), "b": (4,)},
        (4 * 4 * 8) * (3 * 3 * 3),
        4 * 3 * 3 * 3 + 4,
    ),
    "grouped": (
        "y = Conv <group = 3, strides = [4, 4]> (images, w)",
        {"w": (6, 1, 4, 4)},
        (6 * 2 * 4) * (1 * 4 * 4),
        6 * 4 * 4,
    ),
    "transposed": (
        "y = ConvTranspose <strides = [2, 2]> (images, w, b)",
        {"w": (3, 5, 2, 2), "b": (5,)},
        (3 * 8 * 16) * (5 * 2 * 2),  # every input number meets every weight of its channel
        3 * 5 * 2 * 2 + 5,
    ),
    "transposed, grouped": (
        "y = ConvTranspose <strides = [2, 2], group = 3> (images, w)",
        {"w": (3, 2, 2, 2)},
        (3 * 8 * 16) * (2 * 2 * 2),
        3 * 2 * 2 * 2,
    ),
    "matrix": ("y = MatMul (images, w)", {"w": (16, 5)}, (3 * 8 * 5) * 16, 16 * 5),
    "matrix from the left": ("y = MatMul (w, images)", {"w": (5, 8)}, (3 * 5 * 16) * 8, 5 * 8),
    "attention": (
        "t = Transpose <perm = [0, 1, 3, 2]> (images) a = MatMul (images, t) y = MatMul (a, images)",
        {},
        3 * 8 * 8 * 16 + 3 * 8 * 16 * 8,
        0,
    ),
    "Gemm": (
        "f = Flatten (images) y = Gemm (f, w, b)",
        {"w": (384, 7), "b": (7,)},
        384 * 7,
        384 * 7 + 7,
    ),
    "Gemm, weights transposed": (
        "f = Flatten (images) y = Gemm <transB = 1> (f, w)",
        {"w": (7, 384)},
        384 * 7,
        384 * 7,
    ),
    "Gemm, transA": (
        "f = Flatten (images) t = Transpose <perm = [1, 0]> (f) y = Gemm <transA = 1> (t, w)",
        {"w": (384, 7)},
        384 * 7,
        384 * 7,
    ),
    "Gemm, transA = 0": ("f = Flatten (images) y = Gemm <transA = 0> (f, w)", {"w": (384, 7)}, 384 * 7, 384 * 7),
    "nothing": ("y = Relu (images)", {}, 0, 0),
    "one after the other": (
        "a = Conv (images, w) r = Relu (a) y = Conv <strides = [2, 2]> (r, v)",
        {"w": (2, 3, 1, 1), "v": (5, 2, 2, 2)},
        (2 * 8 * 16) * 3 + (5 * 4 * 8) * (2 * 2 * 2),
        2 * 3 + 5 * 2 * 2 * 2,
    ),
}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", COUNTED)
def test_multiplications_and_parameters_are_those_of_one_image(name: str, batch: int | str) -> None:
    body, weights, macs, parameters = COUNTED[name]
    cost = cost_of(network(body, batch, weights), reading(), 10)
    assert (cost.macs, cost.parameters) == (macs, parameters)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("kind", "size"), [("float", 4), ("float16", 2)])
@pytest.mark.parametrize("top_k", [1, 1000])
def test_the_bytes_are_those_of_one_image(kind: str, size: int, batch: int | str, top_k: int) -> None:
    made = network("y = Conv <strides = [2, 2]> (images, w)", batch, {"w": (6, 3, 2, 2)}, kind)
    cost = cost_of(made, reading(), top_k)
    assert cost.bytes_in == (3 * 8 * 16 * size, 3 * 8 * 16)
    assert cost.bytes_out == (6 * 4 * 8 * size, top_k * 24)  # six float32 a candidate
    assert (cost.macs, cost.parameters) == ((6 * 4 * 8) * (3 * 2 * 2), 6 * 3 * 2 * 2)


def test_a_uint8_input_is_no_larger_than_its_pixels() -> None:
    made = network("f = Cast <to = 1> (images) s = Conv (f, w) y = Cast <to = 2> (s)", 1, {"w": (1, 3, 1, 1)}, "uint8")
    cost = cost_of(made, reading(), 1)
    assert cost.bytes_in == (3 * 8 * 16, 3 * 8 * 16)
    assert (cost.macs, cost.bytes_out) == (8 * 16 * 3, (8 * 16, 24))


@pytest.mark.parametrize(
    ("used", "count"), [(("y",), 384), (("z",), 128), (("y", "z"), 384 + 128)], ids=["first", "second", "both"]
)
@pytest.mark.parametrize("batch", BATCHES)
def test_only_the_outputs_that_are_used_count(used: tuple[str, ...], count: int, batch: int | str) -> None:
    body = "one = Constant <value_ints = [1]> () y = Relu (images) z = ReduceMax (images, one)"
    cost = cost_of(network(body, batch, outputs=("y", "z")), reading(*used), 10)
    assert cost.bytes_out == (count * 4, 240)


def test_whole_numbers_such_as_shapes_are_no_parameters() -> None:
    model = parser.parse_model("""<ir_version: 10, opset_import: ["" : 20]>
        net (float[N, 3, 8, 16] images) => (float y)
        <float[1] w = {2.0}, int64[3] shape = {0, 3, 128}> { a = Mul (images, w) y = Reshape (a, shape) }""")
    assert cost_of(prepare(model, None), reading(), 1).parameters == 1


def test_weights_in_constant_nodes_are_parameters_too() -> None:
    made = network(f"w = Constant <value = float[2, 3, 1, 1] {{{', '.join(['0.5'] * 6)}}}> () y = Conv (images, w)", 1)
    assert cost_of(made, reading(), 1).parameters == 6
