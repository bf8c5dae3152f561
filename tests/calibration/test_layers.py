"""The convolutions of a served graph, their cost, and which are the last."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.transformers.float16 import convert_float_to_float16

from tests.calibration.conftest import Known
from tests.calibration.graphs import INNER, as_read, example, family_graph, nodes_of, served, weights_of
from tests.export.layouts import FAMILIES
from tests.export.opened import family_network, pictures, run
from triton_yolo.calibration.errors import CalibrationError
from triton_yolo.calibration.layers import QUANTISED, convolutions, read_float_graph
from triton_yolo.calibration.quantise import quantised
from triton_yolo.errors import GraphError
from triton_yolo.graphs.half_precision import last_convolutions

TWO = "a = Conv (x, w)  raw = Conv (a, v)"
TWO_SHAPES = {"w": (8, 3, 1, 1), "v": (6, 8, 1, 1)}


def test_the_last_convolutions_of_the_default_network_are_those_of_boxes_and_scores_on_three_levels(
    yolov9: Known,
) -> None:
    last = {f"network//head/cv{b}.{level}/cv{b}.{level}.2/Conv" for b in (2, 3) for level in range(3)}
    assert {layer.name for layer in yolov9.layers if layer.last} == last


def test_the_last_convolutions_of_yolox_are_those_of_boxes_objects_and_classes_on_three_levels(yolox: Known) -> None:
    last = {f"network//head/{kind}_preds.{level}/Conv" for kind in ("reg", "obj", "cls") for level in range(3)}
    assert {layer.name for layer in yolox.layers if layer.last} == last


@pytest.mark.parametrize("name", ["yolov9", "yolox"])
def test_the_multiplications_of_all_convolutions_are_those_that_the_export_counts(
    name: str, request: pytest.FixtureRequest
) -> None:
    known: Known = request.getfixturevalue(name)
    assert sum(layer.macs for layer in known.layers) == known.macs
    assert len(known.layers) == len(nodes_of(known.model, "Conv"))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_makes_the_logits_is_last_in_every_family(family: str, tmp_path: Path) -> None:
    layers = convolutions(as_read(family_graph(family), tmp_path))
    assert [layer.last for layer in layers] == [True] * 3


def test_cost_and_input_of_each_convolution(tmp_path: Path) -> None:
    found = {layer.name: layer for layer in convolutions(as_read(example(), tmp_path))}

    assert list(found) == [*INNER, "raw"]
    assert {name for name, layer in found.items() if layer.last} == {"raw"}
    cells = 16 * 24
    assert (found["stem"].macs, found["stem"].parameters) == (8 * cells * 3 * 9, 8 * 3 * 9)  # stride 2, without bias
    assert (found["one"].macs, found["one"].parameters) == (8 * cells * 8 * 9, 8 * 8 * 9)
    assert (found["right"].macs, found["right"].parameters) == (8 * cells, 8)  # depthwise
    assert (found["pooled"].macs, found["pooled"].parameters) == (8 * cells // 4 * 8, 64)
    assert {name: found[name].input for name in ("stem", "two", "left", "right", "mixed")} == {
        **{"stem": "x", "two": "one_act", "left": "sum", "right": "sum", "mixed": "joined"}
    }


# Distribution focal loss: sixteen logits a side, whose mean a convolution takes.
SOFTMAXES = {
    "as Ultralytics has it": "turned = Transpose <perm = [0, 2, 1, 3]> (apart)  soft = Softmax <axis = 1> (turned)",
    "turned afterwards": "early = Softmax <axis = 2> (apart)  soft = Transpose <perm = [0, 2, 1, 3]> (early)",
    "behind an operator that does nothing": """turned = Transpose <perm = [0, 2, 1, 3]> (apart)
        early = Softmax <axis = 1> (turned)  soft = Identity (early)""",
}


@pytest.mark.parametrize("softmax", SOFTMAXES.values(), ids=SOFTMAXES.keys())
def test_a_convolution_that_takes_the_mean_of_a_distribution_is_last_and_so_is_the_one_before(softmax: str) -> None:
    model = served(
        f"""features = Conv (x, w)
            apart_shape = Constant <value_ints = [0, 4, 16, -1]> ()
            map_shape = Constant <value_ints = [0, 4, 32, 48]> ()
            distribution = Conv (features, w_box)  apart = Reshape (distribution, apart_shape)  {softmax}
            mean = Conv (soft, w_mean)  sides_map = Reshape (mean, map_shape)
            others = Conv (features, w_others)
            raw = Concat <axis = 1> (sides_map, others)""",
        {"w": (8, 3, 1, 1), "w_box": (64, 8, 1, 1), "w_mean": (1, 16, 1, 1), "w_others": (2, 8, 1, 1)},
    )
    assert last_convolutions(model) == {"distribution", "mean", "others"}


def test_a_softmax_in_the_network_itself_does_not_make_the_convolutions_before_it_last() -> None:
    model = served(
        """a = Conv (x, w)  attention = Softmax <axis = 1> (a)  weighted = Mul (a, attention)
           raw = Conv (weighted, v)""",
        TWO_SHAPES,
    )
    assert last_convolutions(model) == {"raw"}


def test_a_convolution_whose_result_goes_to_the_head_and_to_another_convolution_is_last() -> None:
    model = served(
        "a = Conv (x, w)  direct = Conv (a, v)  more = Conv (direct, u)  raw = Add (direct, more)",
        TWO_SHAPES | {"u": (6, 6, 1, 1)},
    )
    assert last_convolutions(model) == {"direct", "more"}


def test_a_convolution_whose_weights_are_computed_cannot_be_quantised_and_is_none_of_them(tmp_path: Path) -> None:
    model = as_read(served("a = Conv (x, w)  made = Abs (v)  raw = Conv (a, made)", TWO_SHAPES), tmp_path)
    assert [(layer.name, layer.last) for layer in convolutions(model)] == [("a", False)]


def test_nodes_without_a_name_and_with_one_that_another_has_get_names_of_their_own(tmp_path: Path) -> None:
    model = served("a = Conv (x, w)  b = Relu (a)  c = Relu (b)  raw = Conv (c, v)", TWO_SHAPES)
    for node, name in zip(model.graph.node[2:6], ("Conv_5", "twice", "twice", ""), strict=True):
        node.name = name

    names = [node.name for node in as_read(model, tmp_path).graph.node]

    assert len(set(names)) == len(names) and all(names)
    assert names[2] == "Conv_5"  # one that nobody else has stays, though its number is another node's place
    assert [layer.name for layer in convolutions(as_read(model, tmp_path))] == ["Conv_5", names[5]]


def test_weights_in_constant_nodes_become_initializers_and_the_graph_computes_the_same(tmp_path: Path) -> None:
    plain = example()
    model = onnx.ModelProto()
    model.CopyFrom(plain)
    for tensor in plain.graph.initializer:
        if tensor.name.startswith("w_"):
            model.graph.node.insert(0, onnx.helper.make_node("Constant", [], [tensor.name], value=tensor))
            model.graph.initializer.remove(tensor)

    read = as_read(model, tmp_path)

    assert not nodes_of(read, "Constant")
    assert set(weights_of(read)) == set(weights_of(plain))
    assert convolutions(read) == convolutions(plain)
    pixels = pictures(2, (32, 48))
    np.testing.assert_array_equal(run(read, pixels)[0], run(plain, pixels)[0])


def halved(*kept: str) -> onnx.ModelProto:
    """A graph in float16, but for some of its nodes."""
    made: onnx.ModelProto = convert_float_to_float16(
        served(TWO, TWO_SHAPES), keep_io_types=True, op_block_list=[], node_block_list=list(kept)
    )
    return made


def in_int8() -> onnx.ModelProto:
    return quantised(example(), {"x": (0.0, 1.0)}, ["stem"])


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], type[Exception], str]] = {
    "INT8": (
        in_int8,
        CalibrationError,
        "{path} is quantised already: give the float graph that it was made from",
    ),
    "float16": (
        halved,
        CalibrationError,
        "{path} computes in float16: export the network in float32; --rest fp16 halves the rest",
    ),
    "float16 in part": (
        lambda: halved("a"),
        CalibrationError,
        "{path} computes in float16: export the network in float32; --rest fp16 halves the rest",
    ),
    "no convolution": (
        lambda: served("raw = Concat <axis = 1> (x, x)", {}),
        CalibrationError,
        "{path} has no convolutions with weights in float32, so there is nothing to quantise",
    ),
    "no weights": (
        lambda: served("made = Abs (w)  raw = Conv (x, made)", {"w": (6, 3, 1, 1)}),
        CalibrationError,
        "{path} has no convolutions with weights in float32, so there is nothing to quantise",
    ),
    "an export": (
        lambda: family_network(FAMILIES["yolov8"]),
        CalibrationError,
        "{path}: it is not a served graph: make one with triton-yolo export",
    ),
}


@pytest.mark.parametrize(("make", "kind", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_graph_that_is_no_served_float_graph_is_refused(
    make: Callable[[], onnx.ModelProto], kind: type[Exception], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(make(), path)
    with pytest.raises(kind, match=f"^{re.escape(message.format(path=path))}$"):
        read_float_graph(path)


def test_the_operators_of_quantisation_are_onnxs_own() -> None:
    for kind in QUANTISED:
        onnx.defs.get_schema(kind)


def test_files_that_are_no_graphs_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    for name in ("model.onnx", "none.onnx"):
        with pytest.raises(GraphError, match=re.escape(str(tmp_path / name))):
            read_float_graph(tmp_path / name)
