"""The committed INT8 graphs: how they came to be, and what they cost, the default one through the running server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest

from tests.conftest import REPOSITORY, ROOT, right_engine
from tests.models.test_default_model import evaluate
from triton_yolo.calibration.layers import convolutions, read_float_graph
from triton_yolo.calibration.measure import Evaluator
from triton_yolo.calibration.output_graph import output_graph
from triton_yolo.calibration.pictures import annotated, read_pictures
from triton_yolo.calibration.quantise import quantised, quantised_in
from triton_yolo.clients.coco import read_annotations
from triton_yolo.export.served_model import served_model_of
from triton_yolo.openvino_graph import read_graph
from triton_yolo.openvino_runtime import core
from triton_yolo.server.process import TritonServer

pytestmark = pytest.mark.computes


RESULTS = ROOT / "bench" / "results"
GRAPH = REPOSITORY / "yolo" / "1" / "model.onnx"
BOUND = 0.01  # of mAP50-95, relative


@pytest.fixture(scope="module")
def depthwise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The float graph of the depthwise network, in its repository."""
    folder = tmp_path_factory.mktemp("depthwise") / "repository"
    command = [
        sys.executable,
        "-m",
        "triton_yolo",
        "export",
        str(ROOT / "models" / "pcb-yolox-nano.onnx"),
        "--repository",
        str(folder),
    ]
    subprocess.run(command, check=True, timeout=120, cwd=ROOT)
    return folder / "yolo" / "1" / "model.onnx"


def report_of(name: str) -> Mapping[str, Any]:
    return json.loads((RESULTS / f"int8-{name}.json").read_text())


def made_again(name: str, graph: Path) -> onnx.ModelProto:
    """The INT8 graph that a committed report tells of, from the float graph."""
    report = report_of(name)
    model = read_float_graph(graph)
    values = {
        layer.input: tuple(entry["range"])
        for layer, entry in zip(convolutions(model), report["layers"], strict=True)
        if entry["name"] == layer.name
    }
    names = [entry["name"] for entry in report["layers"] if entry["int8"]]
    return output_graph(quantised(model, values, names), report["rest"])


def test_the_default_graph_is_what_its_report_tells_of(float_default: Path) -> None:
    again = made_again("pcb-yolov9t-elan", float_default / "yolo" / "1" / "model.onnx")
    committed = onnx.load(GRAPH)
    assert quantised_in(again) == quantised_in(committed)
    assert [node.name for node in again.graph.node] == [node.name for node in committed.graph.node]
    if report_of("pcb-yolov9t-elan")["versions"]["onnxruntime"] == onnxruntime.__version__:
        assert again.SerializeToString(deterministic=True) == GRAPH.read_bytes()


def test_nine_tenths_of_the_work_are_int8_and_the_file_is_small(float_default: Path) -> None:
    path = float_default / "yolo" / "1" / "model.onnx"
    layers, int8 = convolutions(read_float_graph(path)), quantised_in(onnx.load(GRAPH))
    assert sum(x.macs for x in layers if x.name in int8) >= 0.9 * sum(x.macs for x in layers)
    assert GRAPH.stat().st_size <= 0.3 * path.stat().st_size


def test_openvino_computes_just_the_quantised_convolutions_in_int8() -> None:
    compiled = core.compile_model(read_graph(GRAPH), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    details = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    kinds = Counter(d["runtimePrecision"].astype(str) for d in details if d["layerType"].astype(str) == "Convolution")
    whole = sum(node.op_type == "Conv" for node in onnx.load(GRAPH).graph.node)
    assert kinds["u8"] + kinds["i8"] == len(quantised_in(onnx.load(GRAPH)))
    assert kinds.total() == whole


@pytest.mark.slow
def test_int8_loses_at_most_one_percent_through_the_server(
    server: TritonServer, float_server: TritonServer, deeppcb: Path, tmp_path: Path
) -> None:
    annotations = deeppcb / "val.json"
    int8 = evaluate(server, deeppcb / "images", annotations, tmp_path / "int8.json")["map50_95"]
    whole = evaluate(float_server, deeppcb / "images", annotations, tmp_path / "float.json")["map50_95"]
    assert int8 != whole
    assert int8 >= whole * (1 - BOUND)


@pytest.mark.slow
def test_a_depthwise_network_stays_within_one_percent_by_leaving_more_in_float(depthwise: Path, deeppcb: Path) -> None:
    report = report_of("pcb-yolox-nano")
    assert report["macs"]["share"] < report_of("pcb-yolov9t-elan")["macs"]["share"]
    model = read_float_graph(depthwise)
    graph = made_again("pcb-yolox-nano", depthwise)
    labelled, served = read_annotations(deeppcb / "val.json"), served_model_of(model, depthwise)
    ids = annotated(labelled, deeppcb / "images")
    evaluator = Evaluator.of_annotations(labelled, ids, read_pictures(list(ids), served.letterbox, len(ids)), served)
    whole, int8 = (evaluator.precision(right_engine(one)).overall.ap50_95 for one in (model, graph))
    assert int8 >= whole * (1 - BOUND)
