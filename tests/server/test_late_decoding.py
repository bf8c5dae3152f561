"""Served graphs that choose the best anchors before they decode boxes, against those that decode all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from tests.server.references import letterbox
from triton_yolo.boards import draw_board
from triton_yolo.graphs.tensor_info import BATCH_SIZE, measured_tensors
from triton_yolo.server.runtimes.onnxruntime_cuda.late_decoding import decode_late

SIDE, CELLS, CLASSES, BEST = 32, (16, 4), 3, 7
ANCHORS = sum(CELLS)


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


def anchors_of(model: onnx.ModelProto, operator: str) -> list[int]:
    """The largest axis of what each operator of a kind makes."""
    names = [node.output[0] for node in model.graph.node if node.op_type == operator]
    return [max(tensor.shape) for tensor in measured_tensors(model, names).values()]


# Ultralytics' head with its sixteen logits a side and the convolution that takes their mean.
CONVOLUTION = """
    apart = Reshape (boxes_of_all, sides)
    turned = Transpose <perm = [0, 2, 1, 3]> (apart)
    soft = Softmax <axis = 1> (turned)
    mean = Conv (soft, numbers)
    reach = Reshape (mean, four)
    near = Slice (reach, zero, two, one)
    far = Slice (reach, two, four_rows, one)
"""
# LibreYOLO's, which sums, with the shapes reckoned while it runs.
SUM = """
    shape = Shape (boxes_of_all)
    batch = Slice (shape, zero, one)
    cells = Slice (shape, two, four_rows)
    reckoned = Concat <axis = 0> (batch, four_rows, sixteen, cells)
    apart = Reshape (boxes_of_all, reckoned)
    soft = Softmax <axis = 2> (apart)
    weighted = Mul (soft, column)
    reach = ReduceSum <keepdims = 0> (weighted, two)
    near, far = Split <axis = 1> (reach, halves)
"""
TOGETHER = """
    both0 = Concat <axis = 1> (box0, class0)
    both1 = Concat <axis = 1> (box1, class1)
    lined0 = Reshape (both0, lines)
    lined1 = Reshape (both1, lines)
    all = Concat <axis = 2> (lined0, lined1)
    boxes_of_all, classes_of_all = Split <axis = 1> (all, parts)
"""
APART = """
    line0 = Reshape (box0, box_lines)
    line1 = Reshape (box1, box_lines)
    boxes_of_all = Concat <axis = 2> (line0, line1)
    kind0 = Reshape (class0, class_lines)
    kind1 = Reshape (class1, class_lines)
    classes_of_all = Concat <axis = 2> (kind0, kind1)
"""
ORDINARY = """
    low = Sub (places, near)
    high = Add (places, far)
    boxes = Concat <axis = 1> (low, high)
    scaled = Mul (boxes, strides)
"""


def served(lines: str = TOGETHER, decoding: str = CONVOLUTION, ending: str = ORDINARY) -> onnx.ModelProto:
    """A served graph of two strides; weights are random."""
    rng = np.random.default_rng(0)
    arrays = {
        "stem": rng.normal(size=(8, 3, 8, 8)) / 300,
        "more": rng.normal(size=(8, 8, 2, 2)) / 3,
        "w_box": rng.normal(size=(64, 8, 1, 1)),
        "w_class": rng.normal(size=(CLASSES, 8, 1, 1)) / 3,
        "numbers": np.arange(16).reshape(1, 16, 1, 1),
        "column": np.arange(16).reshape(1, 1, 16, 1),
        "places": rng.random((1, 2, ANCHORS)) * 4,
        "strides": np.repeat([8, 16], CELLS)[None],
    }
    shapes: dict[str, int | list[int]] = {
        "lines": [0, 64 + CLASSES, -1],
        "box_lines": [0, 64, -1],
        "class_lines": [0, CLASSES, -1],
        "sides": [0, 4, 16, ANCHORS],
        "four": [0, 4, ANCHORS],
        "parts": [64, CLASSES],
        "halves": [2, 2],
        "ends": [4, CLASSES],
        "zero": [0],
        "one": [1],
        "two": [2],
        "four_rows": [4],
        "sixteen": [16],
        "k": [BEST],
        "last": [-1],
        "wide": [1, 4 + CLASSES, 1],
        "along": 2,
    }
    text = f"""<ir_version: 10, opset_import: ["" : 20]>
    served_graph (uint8[N, 3, {SIDE}, {SIDE}] images) => (float[N, {BEST}, 6] candidates) {{
        pixels = Cast <to = 1> (images)
        fine = Conv <strides = [8, 8]> (pixels, stem)
        coarse = Conv <strides = [2, 2]> (fine, more)
        box0 = Conv (fine, w_box)
        box1 = Conv (coarse, w_box)
        class0 = Conv (fine, w_class)
        class1 = Conv (coarse, w_class)
        {lines}
        {decoding}
        {ending}
        sure = Sigmoid (classes_of_all)
        predictions = Concat <axis = 1> (scaled, sure)
        all_boxes, all_classes = Split <axis = 1> (predictions, ends)
        scores = ReduceMax <keepdims = 0> (all_classes, one)
        best, index = TopK <axis = 1> (scores, k)
        best_column = Unsqueeze (best, last)
        row = Unsqueeze (index, one)
        rows = Expand (row, wide)
        columns = GatherElements <axis = 2> (predictions, rows)
        top = Transpose <perm = [0, 2, 1]> (columns)
        corners, class_scores = Split <axis = 2> (top, ends)
        number = ArgMax <axis = 2, keepdims = 1> (class_scores)
        classes = Cast <to = 1> (number)
        candidates = Concat <axis = 2> (corners, best_column, classes)
    }}"""
    model = parser.parse_model(text)
    constants = [(name, array.astype(np.float32)) for name, array in arrays.items()]
    constants += [(name, np.array(numbers, np.int64)) for name, numbers in shapes.items()]
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants)
    onnx.checker.check_model(model, full_check=True)
    return model


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 3, SIDE, SIDE), np.uint8)


@pytest.mark.parametrize("decoding", [CONVOLUTION, SUM], ids=["a convolution", "a sum"])
@pytest.mark.parametrize("lines", [TOGETHER, APART], ids=["together", "apart"])
def test_the_best_alone_are_decoded_and_the_candidates_are_the_same(lines: str, decoding: str) -> None:
    model = served(lines, decoding)
    late = decode_late(model)
    onnx.checker.check_model(late, full_check=True)
    assert anchors_of(model, "Softmax") == [ANCHORS]
    assert anchors_of(late, "Softmax") == [max(16, BEST)]
    assert not anchors_of(late, "GatherElements")[1:]  # of class scores, which top-K needs as they are
    for count in (1, 3):
        before = run(model, pictures(count))
        assert before.shape == (count, BEST, 6)
        assert before[..., :4].std() > 5
        np.testing.assert_array_equal(run(late, pictures(count)), before)


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(ORDINARY.replace("Mul (boxes, strides)", "CumSum (boxes, along)"), id="one by another"),
        pytest.param(ORDINARY.replace("Mul (boxes, strides)", "Softmax <axis = 2> (boxes)"), id="all by all"),
    ],
)
def test_anchors_that_hang_on_each_other_are_decoded_together(ending: str) -> None:
    model = served(ending=ending)
    late = decode_late(model)
    assert anchors_of(late, "Softmax")[0] == ANCHORS
    np.testing.assert_array_equal(run(late, pictures(2)), run(model, pictures(2)))


def test_a_graph_without_a_choice_stays_as_it_is() -> None:
    model = served()
    for node in model.graph.node:
        if node.op_type == "TopK":
            node.op_type = "Chosen"
    assert decode_late(model) is model


@pytest.mark.slow
def test_the_default_network_decodes_the_best_alone(float_default: Path) -> None:
    model = onnx.load(float_default / "yolo" / "1" / "model.onnx")
    late = decode_late(model)
    [best] = [numpy_helper.to_array(t)[0] for t in model.graph.initializer if t.name == topk(model).input[1]]
    assert anchors_of(model, "Softmax") == [8400]
    assert anchors_of(late, "Softmax") == [best]
    images = np.stack([letterbox(draw_board(seed, 1280, 960, "photo").image) for seed in range(2)])
    np.testing.assert_array_equal(run(late, images), run(model, images))


def topk(model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == "TopK")


def test_what_is_measured_of_tensors() -> None:
    model = served(decoding=SUM)
    tensors = measured_tensors(model, ["images", "fine", "cells", "shape", "places", "boxes_of_all"])
    assert tensors["fine"].shape == (BATCH_SIZE, 8, 4, 4)
    assert tensors["boxes_of_all"].shape == (BATCH_SIZE, 64, ANCHORS)
    assert tensors["fine"].values is None  # pixels
    assert tensors["shape"].values is None  # the batch
    np.testing.assert_array_equal(tensors["cells"].values, [ANCHORS])
    assert tensors["places"].values.shape == (1, 2, ANCHORS)
    assert "images" not in tensors
