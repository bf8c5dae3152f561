"""The proof notices what is wrong with a served graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.export.layouts import FAMILIES
from tests.export.opened import family_network, opened, opened_family, pictures
from triton_yolo.export.network import Network
from triton_yolo.export.pixels import PixelFormat
from triton_yolo.export.proof import prove
from triton_yolo.export.recognise import RecognisedNetwork
from triton_yolo.export.served_graph import served_graph


@pytest.mark.parametrize("size", [(320, 320), pytest.param((384, 640), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("batch", [None, 1, 4])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_true_graph_is_proved(name: str, batch: int | None, size: tuple[int, int]) -> None:
    network, recognised = opened_family(name, batch=batch, size=size)
    proof = prove(network, recognised, served_graph(network, recognised, 500), pictures(3, size))
    assert proof.holds
    assert proof.images == 3
    assert proof.detections >= 100
    assert proof.box < 0.05
    assert proof.score < 1e-5


def other_order(graph: onnx.ModelProto) -> None:
    """Red for blue."""
    for node in graph.graph.node:
        for i, name in enumerate(node.input):
            if name == "images":
                node.input[i] = "swapped"
    order = numpy_helper.from_array(np.array([2, 1, 0], np.int64), "order")
    graph.graph.initializer.append(order)
    graph.graph.node.insert(0, onnx.helper.make_node("Gather", ["images", "order"], ["swapped"], axis=1))


def other_scale(graph: onnx.ModelProto) -> None:
    """Divided by 256."""
    for tensor in graph.graph.initializer:
        if tensor.name == "scale":
            tensor.CopyFrom(numpy_helper.from_array(np.float32(1 / 256), "scale"))


def other_weight(graph: onnx.ModelProto) -> None:
    """One weight of the network by a fifth larger."""
    for tensor in graph.graph.initializer:
        if tensor.name == "network/weights16":
            array = numpy_helper.to_array(tensor).copy()
            array[0] *= 1.2
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def other_half(graph: onnx.ModelProto) -> None:
    """Boxes of another size."""
    for tensor in graph.graph.initializer:
        if tensor.name == "half":
            tensor.CopyFrom(numpy_helper.from_array(np.float32(0.51), "half"))


def worst_first(graph: onnx.ModelProto) -> None:
    """The candidates with the lowest scores."""
    [node] = [n for n in graph.graph.node if n.op_type == "TopK" and n.output[0] == "best"]
    node.attribute.append(onnx.helper.make_attribute("largest", 0))


def last_class(graph: onnx.ModelProto) -> None:
    """ArgMax becomes ArgMin."""
    [node] = [n for n in graph.graph.node if n.op_type == "ArgMax"]
    node.op_type = "ArgMin"


def undefined(graph: onnx.ModelProto) -> None:
    """One weight is not a number."""
    for tensor in graph.graph.initializer:
        if tensor.name == "network/bias32":
            array = numpy_helper.to_array(tensor).copy()
            array[0] = np.nan
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


@pytest.mark.parametrize(
    "damage", [other_order, other_scale, other_weight, other_half, worst_first, last_class, undefined]
)
def test_a_wrong_graph_is_not(damage: Callable[[onnx.ModelProto], None]) -> None:
    network, recognised = opened_family("yolov8")
    graph = served_graph(network, recognised, 500)
    before = graph.SerializeToString()
    damage(graph)
    assert graph.SerializeToString() != before
    assert not prove(network, recognised, graph, pictures(3)).holds


@pytest.mark.parametrize("name", FAMILIES)
def test_another_input_than_the_reading_says_is_noticed(name: str) -> None:
    network, recognised = opened_family(name)
    swapped = "rgb" if recognised.pixels.order == "bgr" else "bgr"
    other = dataclasses.replace(recognised, pixels=dataclasses.replace(recognised.pixels, order=swapped))
    assert not prove(network, recognised, served_graph(network, other, 500), pictures(3)).holds


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # the wrong boxes are that large
@pytest.mark.parametrize(("name", "other"), [("yolov8", "xyxy"), ("xyxy", "yolov8"), ("yolox", "yolox-raw")])
def test_another_decoding_than_the_reading_says_is_noticed(name: str, other: str) -> None:
    network, recognised = opened_family(name)
    graph = served_graph(network, _as(other, network, recognised), 500)
    assert not prove(network, recognised, graph, pictures(3)).holds


def _as(head: str, network: Network, recognised: RecognisedNetwork) -> RecognisedNetwork:
    _, like = opened_family(head)
    return dataclasses.replace(recognised, head=like.head)


def test_equal_scores_do_not_disturb_it() -> None:
    """A network that gives all anchors the same score, as untrained ones do."""
    network, recognised = opened_family("yolov8")
    flat = dataclasses.replace(network, original=dataclasses.replace(network.original, model=_constant_scores(network)))
    proof = prove(flat, recognised, served_graph(flat, recognised, 500), pictures(2))
    assert proof.holds
    assert proof.detections > 0


def _constant_scores(network: Network) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(network.original.model)
    for node in model.graph.node:
        if node.op_type == "Sigmoid":
            zeros = onnx.helper.make_node("Sub", [node.input[0], node.input[0]], ["zeros"])
            node.input[0] = "zeros"
            model.graph.node.insert(list(model.graph.node).index(node), zeros)
            break
    return model


def test_a_step_of_half_a_pixel_is_the_limit() -> None:
    network, recognised = opened_family("xyxy")
    graph = served_graph(network, recognised, 500)
    proof = prove(network, recognised, graph, pictures(1))
    assert dataclasses.replace(proof, box=0.5, score=1e-3).holds
    assert not dataclasses.replace(proof, box=0.5001).holds
    assert not dataclasses.replace(proof, score=0.00101).holds
    assert not dataclasses.replace(proof, box=float("inf"), score=float("inf")).holds


@pytest.mark.parametrize("name", ["yolov8", "yolov5", "split"])
def test_half_precision_is_rounded_alike_on_both_sides(name: str) -> None:
    model = family_network(FAMILIES[name], batch=1)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    network, recognised = opened(model, input="rgb-0-1" if name == "split" else None)
    assert network.kind == onnx.TensorProto.FLOAT16
    graph = served_graph(network, recognised, 500)
    assert prove(network, recognised, graph, pictures(3)).holds
    other_order(graph)
    assert not prove(network, recognised, graph, pictures(3)).holds


def test_mean_and_standard_deviation_are_covered() -> None:
    network, recognised = opened_family("yolov8")
    pixels = PixelFormat.parse("bgr-0-255", "103.53,116.28,123.675", "57.375,57.12,58.395")
    right = dataclasses.replace(recognised, pixels=pixels)
    assert prove(network, right, served_graph(network, right, 500), pictures(2)).holds
    assert not prove(network, right, served_graph(network, recognised, 500), pictures(2)).holds
