"""Small served graphs, written out operator by operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper, parser

from tests.export.opened import opened_family
from triton_yolo.calibration.layers import read_float_graph
from triton_yolo.export.served_graph import served_graph

# From the logits `raw` [N, 6, h, w] of a body to candidates: a box, a score, and one of two classes.
HEAD = """
    flat = Reshape (raw, flat_shape)
    rows = Transpose <perm = [0, 2, 1]> (flat)
    sides, logit, kind = Split <axis = 2> (rows, parts)
    shares = Sigmoid (sides)
    lengths = Mul (shares, ten)
    corner, size = Split <axis = 2, num_outputs = 2> (lengths)
    opposite = Add (corner, size)
    pixels = Concat <axis = 2> (corner, opposite)
    all_scores = Sigmoid (logit)
    second = Greater (kind, nothing)
    classes = Cast <to = 1> (second)
    all_rows = Concat <axis = 2> (pixels, all_scores, classes)
    scores = Squeeze (all_scores, end)
    best, index = TopK <axis = 1> (scores, k)
    where = Unsqueeze (index, end)
    candidates = GatherND <batch_dims = 1> (all_rows, where)
"""
UNSORTED = "flat = Reshape (raw, flat_shape)  candidates = Transpose <perm = [0, 2, 1]> (flat)"  # the logits themselves

# All that the rules of quantisation tell apart: a residual addition and one that is none, and readers of every kind
# for tensors that convolutions read too.
BODY = """
    stem = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w_stem, b_stem)
    stem_act = Relu (stem)
    one = Conv <pads = [1, 1, 1, 1]> (stem_act, w_one, b_one)
    one_act = Relu (one)
    two = Conv <pads = [1, 1, 1, 1]> (one_act, w_two, b_two)
    sum = Add (stem_act, two)
    left = Conv (sum, w_left, b_left)
    right = Conv <group = 8> (sum, w_right, b_right)
    both = Add (left, right)
    lefter = Conv (left, w_lefter)
    righter = Conv (right, w_righter)
    bother = Conv (both, w_bother)
    pool = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (both)
    pooled = Conv (pool, w_pooled)
    up = Resize <mode = "nearest"> (pool, , twice)
    up_too = Resize <mode = "nearest"> (pooled, , twice)
    joined = Concat <axis = 1> (both, lefter, righter, bother, up, up_too)
    mixed = Conv (joined, w_mixed, b_mixed)
    mixed_act = Sigmoid (mixed)
    raw = Conv (mixed_act, w_raw, b_raw)
"""
SHAPES: dict[str, tuple[int, ...]] = {
    **{"w_stem": (8, 3, 3, 3), "w_one": (8, 8, 3, 3), "w_two": (8, 8, 3, 3), "w_left": (8, 8, 1, 1)},
    **{"w_right": (8, 1, 1, 1), "w_lefter": (8, 8, 1, 1), "w_righter": (8, 8, 1, 1), "w_bother": (8, 8, 1, 1)},
    **{"w_pooled": (8, 8, 1, 1), "w_mixed": (16, 48, 1, 1), "w_raw": (6, 16, 1, 1), "b_mixed": (16,), "b_raw": (6,)},
    **{f"b_{name}": (8,) for name in ("stem", "one", "two", "left", "right")},
}
INNER = ("stem", "one", "two", "left", "right", "lefter", "righter", "bother", "pooled", "mixed")  # nodes; raw is last
SIZE = (32, 48)
CELLS = 16 * 24  # of its map


def served(
    body: str,
    shapes: Mapping[str, Sequence[int]],
    size: tuple[int, int] = SIZE,
    rows: int = 8,
    head: str = HEAD,
    seed: int = 0,
) -> onnx.ModelProto:
    """A served graph with a network of its own; each node is called what its first output is.

    Args:
        body: ONNX text, from `x` [N, 3, H, W] in 0..1 to the logits `raw` [N, 6, h, w].
        shapes: of the weights in it, which are drawn at random so that numbers keep their size.
        size: height and width of the input.
        rows: K, of its output.
        head: ONNX text, from `raw` to `candidates`.
        seed: of the weights.
    """
    height, width = size
    model = parser.parse_model(f"""<ir_version: 10, opset_import: ["" : 20]>
        served (uint8[N, 3, {height}, {width}] images) => (float[N, {rows}, 6] candidates)
        <float grey = {{0.00392156862}}, float hundred = {{100.0}},
         float ten = {{10.0}}, float nothing = {{0.0}}, int64[1] k = {{{rows}}},
         int64[3] flat_shape = {{0, 6, -1}}, int64[3] parts = {{4, 1, 1}}, int64[1] end = {{-1}},
         float[4] twice = {{1.0, 1.0, 2.0, 2.0}}>
        {{ levels = Cast <to = 1> (images)  x = Mul (levels, grey)  {body}  {head} }}""")
    rng = np.random.default_rng(seed)
    for name, shape in shapes.items():
        values = rng.normal(size=shape) / max(float(np.prod(shape[1:])), 1.0) ** 0.5
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    for node in model.graph.node:
        node.name = node.output[0]
    onnx.checker.check_model(model, full_check=True)
    return model


def example(head: str = HEAD) -> onnx.ModelProto:
    """The graph of BODY."""
    return served(BODY, SHAPES, rows=CELLS if head == UNSORTED else 8, head=head)


def family_graph(name: str, **options: Any) -> onnx.ModelProto:
    """The served graph of one family's small network; options are those of layouts.network."""
    return served_graph(*opened_family(name, **options), 100)


def as_read(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """What the command line makes of a graph's file."""
    onnx.save(model, folder / "model.onnx")
    return read_float_graph(folder / "model.onnx")


def nodes_of(model: onnx.ModelProto, kind: str) -> list[onnx.NodeProto]:
    """Its nodes of one kind."""
    return [node for node in model.graph.node if node.op_type == kind]


def weights_of(model: onnx.ModelProto) -> dict[str, npt.NDArray[Any]]:
    """Its initializers."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def tensors_in(
    model: onnx.ModelProto, names: Sequence[str], pixels: npt.NDArray[np.uint8]
) -> list[npt.NDArray[np.float32]]:
    """What float tensors hold for a batch of pixels [N, 3, H, W]."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = ort.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"images": pixels}))


def types_in(model: onnx.ModelProto) -> dict[str, int]:
    """The type of each tensor's numbers, a TensorProto type."""
    full = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    values = (*full.graph.value_info, *full.graph.input, *full.graph.output)
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    return kinds | {tensor.name: tensor.data_type for tensor in full.graph.initializer}
