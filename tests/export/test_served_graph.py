"""The graph that wraps a network, run by ONNX Runtime, against a plain reading of the original in NumPy."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.export.layouts import FAMILIES
from tests.export.opened import ASKED, best_rows, family_network, opened, opened_family, pictures, run
from triton_yolo.export.errors import ExportError
from triton_yolo.export.pixels import PixelFormat
from triton_yolo.export.proof import prove
from triton_yolo.export.served_graph import IR_VERSION, served_graph
from triton_yolo.server.runtimes.onnxruntime_cuda.late_decoding import decode_late

SLOW_SIZES = [pytest.param(size, marks=pytest.mark.slow) for size in ((640, 640), (1280, 1280))]


@pytest.mark.parametrize("count", [1, 3])  # the batch size stays free
@pytest.mark.parametrize("classes", [1, 3, 12])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_candidates_are_the_networks_best_rows(name: str, classes: int, count: int) -> None:
    network, recognised = opened_family(name, classes=classes)
    assert recognised.classes == classes
    images = pictures(count)
    [candidates] = run(served_graph(network, recognised, 200), images)
    assert (candidates.shape, candidates.dtype) == ((count, 200, 6), np.float32)
    for i in range(count):
        outputs = run(network.original.model, network.typed(recognised.pixels.apply(images[i : i + 1])))
        boxes, scores = FAMILIES[name].read(outputs)
        wanted = np.array(best_rows(boxes[0], scores[0], 200), np.float32)
        assert len(np.unique(wanted[:, 4])) > 100, "ties would hide a wrong order"
        np.testing.assert_allclose(candidates[i, :, 4], wanted[:, 4], atol=1e-5)
        swapped = np.abs(candidates[i] - wanted).max(1) > 0.05  # neighbours may change places by rounding
        assert swapped.mean() < 0.05
        np.testing.assert_allclose(candidates[i][~swapped], wanted[~swapped], atol=0.05)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("classes", [3, 12])
@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "yolov10"])
def test_every_class_of_a_box_may_be_a_candidate(name: str, classes: int, count: int) -> None:
    family = FAMILIES[name]
    model = family_network(family, classes=classes)
    network, recognised = opened(model, input=family.input if name in ASKED else None, every_class=True)
    images = pictures(count)
    graph = served_graph(network, recognised, 1500)
    [candidates] = run(graph, images)
    assert candidates.shape == (count, 1500, 6)
    np.testing.assert_allclose(run(decode_late(graph), images)[0], candidates, atol=1e-3)
    for i in range(count):
        outputs = run(network.original.model, network.typed(recognised.pixels.apply(images[i : i + 1])))
        boxes, scores = (array[0] for array in family.read(outputs))
        best = np.argsort(-scores, axis=None, kind="stable")[:1500]
        anchors, kinds = np.unravel_index(best, scores.shape)
        assert len(np.unique(anchors)) < 1500, "some boxes are found twice"
        wanted = np.column_stack([boxes[anchors], scores[anchors, kinds], kinds]).astype(np.float32)
        np.testing.assert_allclose(candidates[i, :, 4], wanted[:, 4], atol=1e-5)
        swapped = np.abs(candidates[i] - wanted).max(1) > 0.05  # neighbours may change places by rounding
        assert swapped.mean() < 0.1
    proof = prove(network, recognised, graph, pictures(2))
    assert proof.holds, proof


def test_an_end_to_end_network_has_one_class_a_box() -> None:
    with pytest.raises(ExportError, match="answers with one class for each box: leave out --classes all"):
        opened(family_network(FAMILIES["yolov10"]), every_class=True)


@pytest.mark.parametrize("size", [(320, 320), (416, 416), (384, 640), *SLOW_SIZES], ids=str)
@pytest.mark.parametrize("name", ["yolov5", "yolov8", "yolov10", "xyxy"])
def test_any_size_will_do(name: str, size: tuple[int, int]) -> None:
    network, recognised = opened_family(name, size=size)
    [candidates] = run(served_graph(network, recognised, 50), pictures(2, size))
    outputs = run(network.original.model, recognised.pixels.apply(pictures(2, size)[:1]))
    boxes, scores = FAMILIES[name].read(outputs)
    best = best_rows(boxes[0], scores[0], 50)
    np.testing.assert_allclose(candidates[0, :, 4], [row[4] for row in best], atol=1e-5)
    np.testing.assert_allclose(candidates[0, 0], best[0], atol=0.05)


@pytest.mark.parametrize(
    ("name", "text", "mean", "std"),
    [
        ("yolov8", "rgb-0-1", None, None),
        ("yolov8", "bgr-0-1", None, None),
        ("yolov8", "rgb-0-1", "0.5,0.4,0.3", "0.2,0.25,0.3"),
        ("yolov8", "bgr-0-255", "100,90,80", "200,210,220"),
        ("yolov8", "rgb-0-255", None, "255,200,128"),
        ("yolox", "rgb-0-255", None, None),
        ("yolox", "bgr-0-255", None, None),
        ("yolox", "bgr-0-255", "1,2,3", None),
    ],
)
def test_the_input_is_prepared_in_the_graph(name: str, text: str, mean: str | None, std: str | None) -> None:
    """uint8 RGB in, whatever the network was trained on."""
    network, recognised = opened_family(name)
    recognised = dataclasses.replace(recognised, pixels=PixelFormat.parse(text, mean, std))
    images = pictures(2)
    [candidates] = run(served_graph(network, recognised, 20), images)
    planes = images.astype(np.float64) / (255 if text.endswith("-1") else 1)
    ordered = planes[:, [0, 1, 2] if text.startswith("rgb") else [2, 1, 0]]
    less, by = (
        [float(v) for v in (given or default).split(",")] for given, default in [(mean, "0,0,0"), (std, "1,1,1")]
    )
    prepared = np.stack([(ordered[:, c] - less[c]) / by[c] for c in range(3)], 1).astype(np.float32)
    boxes, scores = FAMILIES[name].read(list(network.original.run(prepared).values()))
    for got, box, score in zip(candidates, boxes, scores, strict=True):
        best = best_rows(box, score, 20)
        assert best[0][4] > best[-1][4]
        np.testing.assert_allclose(got[:, 4], [row[4] for row in best], atol=1e-5)


def test_all_anchors_may_be_asked_for() -> None:
    network, recognised = opened_family("yolov8")
    anchors = 40 * 40 + 20 * 20 + 10 * 10
    assert run(served_graph(network, recognised, 10_000), pictures(1))[0].shape == (1, anchors, 6)


@pytest.mark.parametrize("batch", [None, 1, 4])
def test_the_interface_has_names_types_and_a_free_batch_size(batch: int | None) -> None:
    network, recognised = opened_family("yolov8", batch=batch)
    graph = served_graph(network, recognised, 10).graph
    [source], [sink] = graph.input, graph.output
    assert (source.name, source.type.tensor_type.elem_type) == ("images", onnx.TensorProto.UINT8)
    assert (sink.name, sink.type.tensor_type.elem_type) == ("candidates", onnx.TensorProto.FLOAT)
    for value, dims in [(source, [3, 320, 320]), (sink, [10, 6])]:
        first, *rest = value.type.tensor_type.shape.dim
        assert first.dim_param
        assert [d.dim_value for d in rest] == dims


def test_the_network_itself_is_untouched() -> None:
    model = family_network(FAMILIES["yolov8"], batch=1, opset=18)
    before = model.SerializeToString()
    served = served_graph(*opened(model), 10)
    assert model.SerializeToString() == before
    weights = {t.name: t for t in model.graph.initializer if t.name.startswith("weights")}
    kept = {t.name.removeprefix("network/"): t for t in served.graph.initializer}
    for name, tensor in weights.items():
        assert numpy_helper.to_array(kept[name]).tobytes() == numpy_helper.to_array(tensor).tobytes()


@pytest.mark.parametrize(("opset", "served_opset"), [(18, 19), (19, 19), (21, 21)])
def test_the_operator_set_is_19_or_newer(opset: int, served_opset: int) -> None:
    graph = served_graph(*opened_family("yolov8", opset=opset), 10)
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", served_opset)]
    assert graph.ir_version == IR_VERSION


def test_the_metadata_is_kept() -> None:
    graph = served_graph(*opened_family("yolov8"), 10)
    assert {p.key: p.value for p in graph.metadata_props} == {"names": "{0: 'kind0', 1: 'kind1', 2: 'kind2'}"}


def test_a_name_of_the_network_may_be_one_of_the_wrappers() -> None:
    model = family_network(FAMILIES["yolov8"])
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            for i, name in enumerate(tensors):
                if name == "raw":
                    tensors[i] = "top0"  # also the name of the rows that are gathered
    plain = served_graph(*opened_family("yolov8"), 10)
    np.testing.assert_array_equal(run(served_graph(*opened(model), 10), pictures(1))[0], run(plain, pictures(1))[0])
