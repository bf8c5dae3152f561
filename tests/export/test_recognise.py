"""What a network's outputs and input are taken for, and what is asked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import parser

from tests.export.layouts import FAMILIES
from tests.export.opened import ASKED, family_network, opened, opened_family
from triton_yolo.export.errors import ExportError
from triton_yolo.export.heads import HEADS
from triton_yolo.export.heads.base import Head, Predictions
from triton_yolo.export.network import prepare
from triton_yolo.export.proof import REFERENCES
from triton_yolo.export.recognise import ExportOptions, recognise


@pytest.mark.parametrize("size", [(320, 320), (384, 640)], ids=str)
@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize("classes", [1, 3, 12])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_recognised(name: str, classes: int, batch: int | None, size: tuple[int, int]) -> None:
    family = FAMILIES[name]
    _, recognised = opened_family(name, classes=classes, batch=batch, size=size)
    assert recognised.head is HEADS[family.head]
    assert (str(recognised.pixels), recognised.letterbox.centred) == (family.input, family.centred)
    assert recognised.labels == tuple(f"kind{i}" for i in range(classes))
    assert recognised.notes == ()


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "yolov10"])
def test_without_names_they_are_numbered_and_the_user_is_told(name: str) -> None:
    _, recognised = opened(family_network(FAMILIES[name], names=[]), input=FAMILIES[name].input)
    assert recognised.head is HEADS[FAMILIES[name].head]
    assert recognised.labels == ("class0", "class1", "class2")
    assert "--labels" in recognised.notes[0]


def test_names_that_the_user_gives_go_before_those_in_the_file() -> None:
    _, recognised = opened(family_network(FAMILIES["yolov8"]), labels=("a", "b", "c"))
    assert recognised.labels == ("a", "b", "c")


def test_classes_tell_objectness_where_the_layout_does_not() -> None:
    """Rows of 4 + 3 numbers with three names: no objectness, although features come last."""
    model = _transposed(family_network(FAMILIES["yolov8"]))
    _, recognised = opened(model)
    assert (recognised.head.name, recognised.features_first, recognised.classes) == ("yolov8", False, 3)


def _transposed(model: onnx.ModelProto) -> onnx.ModelProto:
    """YOLOv8's predictions with the features last."""
    [output] = model.graph.output
    model.graph.node.append(onnx.helper.make_node("Transpose", [output.name], ["turned"], perm=[0, 2, 1]))
    batch, features, anchors = output.type.tensor_type.shape.dim
    value = onnx.helper.make_tensor_value_info("turned", 1, [batch.dim_param, anchors.dim_value, features.dim_value])
    output.CopyFrom(value)
    return model


@pytest.mark.parametrize("name", ASKED)
def test_an_input_that_differs_between_families_is_asked_for(name: str) -> None:
    with pytest.raises(ExportError, match=f"head {name} .*say which with --input"):
        opened(family_network(FAMILIES[name]))


@pytest.mark.parametrize(
    ("family", "head", "input", "centred", "rounding"),
    [
        ("yolo9", "xyxy", "rgb-0-1", False, "down"),
        ("rtmdet", "xyxy", "bgr-0-255 --mean 103.53,116.28,123.675 --std 57.375,57.12,58.395", False, "down"),
        ("picodet", "xyxy", "rgb-0-255 --mean 123.675,116.28,103.53 --std 58.395,57.12,57.375", True, "nearest"),
        ("ppyoloe", "split", "rgb-0-255 --mean 123.675,116.28,103.53 --std 58.395,57.12,57.375", True, "nearest"),
        ("yolonas", "split", "rgb-0-1", True, "nearest"),
        ("yolox", "yolox", "bgr-0-255", False, "down"),
    ],
)
def test_metadata_of_libreyolo_says_what_the_input_takes(
    family: str, head: str, input: str, centred: bool, rounding: str
) -> None:
    model = family_network(FAMILIES[head])
    model.metadata_props.add(key="model_family", value=family)
    _, recognised = opened(model)
    assert (recognised.head.name, str(recognised.pixels)) == (head, input)
    assert (recognised.letterbox.centred, recognised.letterbox.rounding) == (centred, rounding)
    assert bool(recognised.notes) == (family in ("ppyoloe", "picodet", "yolonas"))  # prepared otherwise in training


@pytest.mark.parametrize(("pad", "centred"), [("center", True), ("topleft", False)])
def test_metadata_says_where_the_letterbox_lies(pad: str, centred: bool) -> None:
    model = family_network(FAMILIES["xyxy"])
    for key, value in (("model_family", "yolo9"), ("letterbox_pad", pad)):
        model.metadata_props.add(key=key, value=value)
    assert opened(model)[1].letterbox.centred is centred
    assert opened(model, centred=not centred)[1].letterbox.centred is not centred, "the user goes first"


@pytest.mark.parametrize(("name", "rounding"), [("yolov8", "nearest"), ("yolov5", "nearest"), ("yolox", "down")])
def test_sizes_are_rounded_as_the_family_does(name: str, rounding: str) -> None:
    """Ultralytics and YOLOv5: round(h * r); YOLOX: int(h * r)."""
    assert opened(family_network(FAMILIES[name]))[1].letterbox.rounding == rounding
    assert opened(family_network(FAMILIES[name]), rounding="up")[1].letterbox.rounding == "up", "the user goes first"


def test_a_family_that_is_not_known_is_asked_about() -> None:
    model = family_network(FAMILIES["yolov8"])
    model.metadata_props.add(key="model_family", value="yolo99")
    for said in ({}, {"input": "rgb-0-1"}, {"centred": True}):
        with pytest.raises(ExportError, match=r"the family yolo99, .*--input .* --letterbox"):
            opened(model, **said)
    assert opened(model, input="rgb-0-1", centred=False)[1].letterbox.centred is False


def test_a_family_that_is_known_goes_before_what_its_boxes_look_like() -> None:
    """Boxes as wide as the image could be anything."""
    model = family_network(FAMILIES["yolov8"])
    model.metadata_props.add(key="model_family", value="rtmdet")
    assert opened(model)[1].head.name == "xyxy"
    assert opened(model, head="yolov8")[1].head.name == "yolov8", "the user goes first"


def test_what_libreyolo_made_for_another_runtime_is_refused() -> None:
    model = family_network(FAMILIES["yolox"])
    for key, value in (("model_family", "yolox"), ("deepstream", "true")):
        model.metadata_props.add(key=key, value=value)
    with pytest.raises(ExportError, match="export it again without deepstream=True"):
        opened(model)


def test_the_user_goes_before_what_is_usual() -> None:
    _, recognised = opened(family_network(FAMILIES["yolox"]), input="rgb-0-1", centred=True)
    assert (str(recognised.pixels), recognised.letterbox.centred) == ("rgb-0-1", True)


@pytest.mark.parametrize("operator", ["Div", "Mul", "Sub"])
def test_a_graph_that_prepares_its_pixels_itself_is_asked_about(operator: str) -> None:
    model = family_network(FAMILIES["yolov8"])
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == "images":
                node.input[i] = "prepared"
    model.graph.node.insert(0, onnx.helper.make_node(operator, ["images", "two"], ["prepared"], name="first"))
    if "two" not in {t.name for t in model.graph.initializer}:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(2), "two"))
    with pytest.raises(ExportError, match=f"begins with {operator} first.*rgb-0-255"):
        opened(model)
    assert str(opened(model, input="rgb-0-255")[1].pixels) == "rgb-0-255"


def test_uint8_graphs_take_grey_levels_alone() -> None:
    model = family_network(FAMILIES["yolov8"])
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == "images":
                node.input[i] = "floats"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1 / 255), "scale"))
    model.graph.node.insert(0, onnx.helper.make_node("Cast", ["images"], ["cast"], to=1))
    model.graph.node.insert(1, onnx.helper.make_node("Mul", ["cast", "scale"], ["floats"]))
    with pytest.raises(ExportError, match="a uint8 input"):
        opened(model)
    with pytest.raises(ExportError, match="can only be rgb-0-255 or bgr-0-255, not rgb-0-1"):
        opened(model, input="rgb-0-1")
    assert str(opened(model, input="bgr-0-255")[1].pixels) == "bgr-0-255"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_wrong_number_of_labels_is_refused(name: str) -> None:
    if name == "yolov10":  # has no number of classes; a class beyond the labels shows it
        with pytest.raises(ExportError, match="answers with class 2, but there are 2 labels"):
            opened(family_network(FAMILIES[name]), labels=("a", "b"))
        return
    with pytest.raises(ExportError, match="3 classes, but there are 5 labels, from 'a' to 'e'"):
        opened(family_network(FAMILIES[name]), labels=tuple("abcde"), input=FAMILIES[name].input)


def test_an_end_to_end_network_needs_names() -> None:
    with pytest.raises(ExportError, match="how many classes it has: name them with --labels"):
        opened(family_network(FAMILIES["yolov10"], names=[]))


@pytest.mark.parametrize("task", ["segment", "pose", "obb", "classify"])
def test_other_tasks_are_refused(task: str) -> None:
    model = family_network(FAMILIES["yolov8"])
    model.metadata_props.add(key="task", value=task)
    with pytest.raises(ExportError, match=f"this is a .*task is {task}.*, and triton-yolo serves detectors"):
        opened(model)


CELLS = 40 * 40 + 20 * 20 + 10 * 10


def answering(*outputs: tuple[str, tuple[int, ...], Callable[[int], float]]) -> onnx.ModelProto:
    """A network of 320x320 that answers each image with numbers that are functions of a running index."""
    declared = ", ".join(f"float[N, {', '.join(map(str, dims))}] {name}" for name, dims, _ in outputs)
    steps = "\n".join(
        f"flat_{name} = Reshape (nothing, shape_{name})  {name} = Add (fixed_{name}, flat_{name})"
        for name, _, _ in outputs
    )
    model = parser.parse_model(f"""<ir_version: 10, opset_import: ["" : 20]>
        net (float[N, 3, 320, 320] images) => ({declared}) <float zero = {{0.0}}, int64[3] axes = {{1, 2, 3}}>
        {{
            sums = ReduceSum <keepdims = 0> (images, axes)
            nothing = Mul (sums, zero)
            {steps}
        }}""")
    for name, dims, value in outputs:
        numbers = np.array([value(i) for i in range(int(np.prod(dims)))], np.float32).reshape(1, *dims)
        shape = np.array([-1, *[1] * len(dims)], np.int64)
        for array, tensor in ((numbers, f"fixed_{name}"), (shape, f"shape_{name}")):
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, tensor))
    return model


@pytest.mark.parametrize(
    ("outputs", "complaint"),
    [
        ([("y", (7, CELLS + 1), float)], r"y \[N, 7, 2101\], which is none of the known layouts"),
        ([("y", (1000,), float)], r"y \[N, 1000\]: this is a classifier, .* and triton-yolo serves detectors"),
        ([("y", (1000, 1, 1), float)], r"y \[N, 1000, 1, 1\]: this is a classifier"),
        ([("y", (21, 80, 80), float)], "one fine map, as a semantic segmentation network has"),
        ([("y", (85, 20, 20), float)], "maps that are not decoded yet"),
        ([("y", (7, CELLS), lambda i: 0.5), ("p", (32, 80, 80), float)], "as a segmentation network has"),
        ([("y", (300, 6), lambda i: 0.5)], "should be x1, y1, x2, y2, score, class"),
        ([("y", (300, 6), lambda i: 0.5 if i % 6 < 5 else 1)], "its boxes are shares of the image"),
        ([("y", (7, CELLS), lambda i: 1e3 * np.sin(i))], "say with --head which it is: yolov5"),
        ([("y", (7, CELLS), lambda i: float("nan"))], "infinite or undefined numbers"),
    ],
    ids=[
        "cells",
        "classifier",
        "classifier of maps",
        "semantic segmentation",
        "maps",
        "masks",
        "no class",
        "shares",
        "no boxes",
        "not a number",
    ],
)
def test_what_is_no_detector_is_refused_with_what_was_seen(
    outputs: list[tuple[str, tuple[int, ...], Callable[[int], float]]], complaint: str
) -> None:
    with pytest.raises(ExportError, match=complaint):
        opened(answering(*outputs), labels=("a", "b", "c"))


def test_key_points_and_logits_are_no_scores() -> None:
    """Columns behind the boxes that leave 0..1."""
    model = family_network(FAMILIES["yolov8"])
    for node in model.graph.node:
        if node.op_type == "Sigmoid":
            node.op_type = "Identity"
    with pytest.raises(ExportError, match=r"scores reaches from -.* key points \(pose\) or rotated boxes"):
        opened(model)


def test_suppression_in_the_graph_is_refused() -> None:
    model = family_network(FAMILIES["yolov10"])
    model.graph.node.append(onnx.helper.make_node("NonMaxSuppression", ["all_boxes", "scores"], ["unused"]))
    network = prepare(model, None)
    with pytest.raises(ExportError, match="non-maximum suppression in the graph: export without it"):
        recognise(network, ExportOptions())


@pytest.mark.parametrize(("name", "head"), [("yolov8", "split"), ("yolov8", "yolov10")])
def test_a_head_that_the_outputs_cannot_be_is_refused(name: str, head: str) -> None:
    with pytest.raises(ExportError, match=f"--head {head} .*does not have|none of the known layouts"):
        opened(family_network(FAMILIES[name]), head=head)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_user_may_name_the_head(name: str) -> None:
    _, recognised = opened(family_network(FAMILIES[name]), head=FAMILIES[name].head, input=FAMILIES[name].input)
    assert recognised.head is HEADS[FAMILIES[name].head]
    assert recognised.classes == 3


@pytest.mark.parametrize("name", FAMILIES)
def test_one_head_alone_matches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever order the heads are asked in."""
    asked: dict[str, bool] = {}

    def ask(predictions: Predictions) -> Head:
        asked.update({head.name: head.matches(predictions) for head in HEADS.values()})
        return HEADS[FAMILIES[name].head]

    monkeypatch.setattr("triton_yolo.export.recognise._head", ask)
    opened_family(name)
    assert [head for head, matches in asked.items() if matches] == [FAMILIES[name].head]


def test_every_head_has_a_reference_and_a_layout() -> None:
    assert set(HEADS) == set(REFERENCES) == {family.head for family in FAMILIES.values()}
