"""The served graph as OpenVINO reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper, parser

from triton_yolo.calibration.quantise import quantised
from triton_yolo.openvino_graph import answer_of, read_graph
from triton_yolo.openvino_runtime import core, ov

BRANCHES = """<ir_version: 10, opset_import: ["" : 20]>
branches (float[N, 3, 32, 32] images) => (float[N, 8, 32, 32] answer)
{
    [one] c1 = Conv <pads = [1, 1, 1, 1]> (images, w1)
    g1 = Sigmoid (c1)  a1 = Mul (c1, g1)
    [two] c2 = Conv <pads = [1, 1, 1, 1]> (a1, w2)
    g2 = Sigmoid (c2)  a2 = Mul (c2, g2)
    wide = Concat <axis = 1> (a1, a2)
    [three] answer = Conv (wide, w3)
}"""


def branches() -> onnx.ModelProto:
    model, rng = parser.parse_model(BRANCHES), np.random.default_rng(0)
    for name, shape in (("w1", (8, 3, 3, 3)), ("w2", (8, 8, 3, 3)), ("w3", (8, 16, 1, 1))):
        weights = rng.normal(size=shape).astype(np.float32) + np.float32(0.2)
        model.graph.initializer.append(numpy_helper.from_array(weights / np.sqrt(weights[0].size), name))
    return model


def in_onnxruntime(model: onnx.ModelProto, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": images})[0])


def in_openvino(graph: ov.Model, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    request = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    request.infer({0: images})
    return np.array(answer_of(request))


@pytest.mark.parametrize("names", [["three"], ["one", "two", "three"]])
def test_a_quantised_concatenation_is_computed_as_in_onnx_runtime(names: list[str], tmp_path: Path) -> None:
    images = np.random.default_rng(1).normal(size=(1, 3, 32, 32)).astype(np.float32)
    ranges = {"images": (-4.0, 4.0), "a1": (-0.3, 6.0), "wide": (-0.3, 6.0)}
    model = quantised(branches(), ranges, names)
    expected = in_onnxruntime(model, images)
    assert np.abs(in_onnxruntime(branches(), images) - expected).max() > 0  # it is quantised
    onnx.save(model, tmp_path / "model.onnx")
    for source in (tmp_path / "model.onnx", model.SerializeToString()):
        graph = read_graph(source)
        assert len(graph.outputs) == 2
        # Rounding to the neighbouring level here and there is all that engines may differ by.
        assert np.abs(in_openvino(graph, images) - expected).mean() < 0.02 * expected.std()


def test_no_concatenation_is_kept_until_the_end() -> None:
    """Each would take memory, for each image that runs."""
    model = quantised(
        branches(), {"images": (-4.0, 4.0), "a1": (-0.3, 6.0), "wide": (-0.3, 6.0)}, ["one", "two", "three"]
    )
    compiled = core.compile_model(read_graph(model.SerializeToString()), "CPU")
    ran = {op.get_friendly_name(): op for op in compiled.get_runtime_model().get_ordered_ops()}
    last = max(order(op) for op in ran.values() if told(op, "layerType") == "Convolution")
    readers = [reader.get_node() for reader in ran["wide"].output(0).get_target_inputs()]
    assert len(readers) == 2
    assert max(map(order, readers)) < last


def told(op: ov.Node, what: str) -> str:
    return str(op.get_rt_info()[what].astype(str))


def order(op: ov.Node) -> int:
    return int(told(op, "execOrder"))


def test_a_float_graph_is_read_as_it_is() -> None:
    graph = read_graph(branches().SerializeToString())
    assert len(graph.outputs) == 1
    assert graph.input(0).get_partial_shape() == ov.PartialShape([1, 3, 32, 32])
