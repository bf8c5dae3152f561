"""Where served graphs are cut in two, and what the halves find."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.conftest import REPOSITORY, ROOT
from tests.export.layouts import FAMILIES
from tests.export.opened import opened, opened_family, pictures
from tests.export.split.necks import SIZE, TOP_K, split_family
from tests.server.cells import cells_network
from triton_yolo.contract import FEATURES, OUTPUT
from triton_yolo.export.errors import ExportError
from triton_yolo.export.network import prepare
from triton_yolo.export.pixels import PixelFormat
from triton_yolo.export.proof_maker import make_proof
from triton_yolo.export.recognise import ExportOptions, recognise
from triton_yolo.export.samples import samples
from triton_yolo.export.served_graph import served_graph
from triton_yolo.export.served_model import usual_thresholds
from triton_yolo.export.split.cut import find_cut
from triton_yolo.export.split.halves import cut_in_two, run
from triton_yolo.export.split.proved import split_graph
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.graphs.runner import Runner
from triton_yolo.nms.letterbox import Letterbox
from triton_yolo.repository import GRAPH_PATH


@pytest.mark.parametrize("name", FAMILIES)
def test_every_head_is_cut_behind_its_backbone_at_the_fewest_bytes(name: str) -> None:
    """The coarsest map where it is narrowest before it is enlarged, and beside the backbone behind the wide lateral."""
    _, _, _, split = split_family(name)
    assert {one.name for one in split.halves.tensors} == {"network/l8", "network/c16", "network/n32"}
    assert split.halves.length == 3 * (40 * 40 + 20 * 20 + 10 * 10)
    assert split.comparison.holds
    assert split.comparison.detections > 100
    assert not split.same  # the graph is in float


def test_a_network_that_enlarges_nothing_is_cut_before_its_decoding() -> None:
    graph = served_graph(*opened_family("yolov8"), TOP_K)
    assert [one.name for one in find_cut(graph)] == [f"network/map{stride}" for stride in (8, 16, 32)]


@pytest.mark.slow
def test_the_default_graph_is_cut_where_it_quantises_and_its_halves_find_the_same_to_the_last_bit() -> None:
    graph = read_network(REPOSITORY / GRAPH_PATH)
    tensors = find_cut(graph)
    assert [one.shape for one in tensors] == [(64, 80, 80), (96, 40, 40), (64, 20, 20)]
    shown = pictures(1, (640, 640))
    halves = cut_in_two(graph, tensors, shown)
    assert halves.exact
    assert find_cut(graph, [one.name for one in tensors]) == tensors
    features, candidates = run(halves, shown)
    assert features.shape == (1, halves.length)
    assert (candidates[..., 4] > 0.01).any()
    np.testing.assert_array_equal(candidates, Runner(graph).run(shown)[OUTPUT])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("pcb-yolov9t-elan", [(64, 80, 80), (96, 40, 40), (64, 20, 20)]),
        ("pcb-yolox-nano", [(64, 80, 80), (128, 40, 40), (128, 20, 20)]),
    ],
)
def test_trained_float_networks_are_cut_behind_their_backbones(name: str, shapes: list[tuple[int, ...]]) -> None:
    network, recognised = opened(read_network(ROOT / "models" / f"{name}.onnx"))
    graph = served_graph(network, recognised, TOP_K)
    assert [one.shape for one in find_cut(graph)] == shapes
    shown = samples(None, recognised.letterbox)
    thresholds = usual_thresholds(recognised.head.final)
    proof = make_proof(graph, graph.SerializeToString(deterministic=True), shown, thresholds)
    split = split_graph(graph, [], shown, proof, recognised.letterbox)
    assert split.comparison.detections > 50


def test_a_pair_that_both_halves_read_is_cut_behind_itself() -> None:
    """A quantiser gives one pair to all readers of a tensor, before and behind the cut."""
    graph = onnx.ModelProto()
    graph.CopyFrom(split_family("yolov8")[0])
    place = next(i for i, node in enumerate(graph.graph.node) if "network/c16" in node.output) + 1
    for node in graph.graph.node:
        node.input[:] = ["pair" if name == "network/c16" else name for name in node.input]
    pair = [("QuantizeLinear", "network/c16", "steps"), ("DequantizeLinear", "steps", "pair")]
    for number, (kind, before, after) in enumerate(pair):
        graph.graph.node.insert(place + number, onnx.helper.make_node(kind, [before, "fine", "none"], [after]))
    graph.graph.initializer.extend(
        [numpy_helper.from_array(np.float32(1 / 127), "fine"), numpy_helper.from_array(np.int8(0), "none")]
    )
    assert {one.name: one.scale for one in find_cut(graph)} == {
        "network/l8": None,
        "pair": np.float32(1 / 127),
        "network/n32": None,
    }


def test_features_are_int8_and_only_they_go_from_one_half_to_the_other() -> None:
    _, _, _, split = split_family("yolov8")
    [into], [out] = split.halves.head.graph.input, split.halves.edge.graph.output
    assert into.name == out.name == FEATURES
    assert into.type.tensor_type.elem_type == out.type.tensor_type.elem_type == onnx.TensorProto.INT8
    features, _ = run(split.halves, pictures(1, SIZE))
    assert features.max() > 100, "the scales fit the pictures"


def test_halves_take_any_batch() -> None:
    _, _, _, split = split_family("yolov8")
    shown = pictures(3, SIZE)
    together = Runner(split.halves.edge).run(shown)[FEATURES]
    features, candidates = run(split.halves, shown)
    np.testing.assert_array_equal(together, features)
    np.testing.assert_allclose(Runner(split.halves.head).run(features)[OUTPUT], candidates, atol=1e-3)


def test_halves_of_other_places_are_told_apart() -> None:
    graph, proof, recognised, split = split_family("yolov8")
    names = ["c8", "c16", "c32"]
    other = split_graph(graph, names, pictures(4, SIZE), proof, recognised.letterbox)
    assert [one.name for one in other.halves.tensors] == [f"network/{name}" for name in names]
    assert other.halves.network != split.halves.network


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["nowhere"], "the graph has no tensor nowhere with floats of each image"),
        (["mean8"], "no tensor mean8"),  # a weight
        (["c16", "c32"], "c16, c32 do not cut the graph in two: there is a way from the pixels"),
        (["c8", "c16", "c32", "m8"], "the detections do not need network/m8"),
        (["candidates"], "nothing would be left for the server"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_names_that_cut_nothing_are_refused(names: list[str], words: str) -> None:
    graph, *_ = split_family("yolov8")
    with pytest.raises(ExportError, match=words):
        find_cut(graph, names)


def test_a_network_without_a_place_to_cut_says_so() -> None:
    network = prepare(cells_network(), None)  # means of pixels, and no convolution
    graph = served_graph(network, recognise(network, ExportOptions("xyxy", PixelFormat.parse("rgb-0-1"))), TOP_K)
    with pytest.raises(ExportError, match=r"no place between the network's backbone and its detections .* --split-at"):
        find_cut(graph)


def test_halves_that_find_something_else_are_refused() -> None:
    graph, proof, *_ = split_family("yolov8")
    coarse = onnx.ModelProto()
    coarse.CopyFrom(graph)
    for tensor in coarse.graph.initializer:
        if tensor.name.startswith("network/weights"):  # of features as coarse as before
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 100, tensor.name))
    with pytest.raises(ExportError, match="the halves find something else than the whole graph"):
        split_graph(coarse, [], pictures(4, SIZE), proof, Letterbox(*SIZE))


def test_features_that_int8_cannot_carry_are_refused() -> None:
    graph, *_ = split_family("yolov8")
    black = np.zeros((1, 3, *SIZE), np.uint8)
    tensors = [dataclasses.replace(one, scale=None) for one in find_cut(graph)]
    with pytest.raises(ExportError, match=r"network/\w+ has values of up to 0.0, which INT8 cannot carry"):
        cut_in_two(graph, tensors, black)
