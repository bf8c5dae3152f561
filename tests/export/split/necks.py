"""The networks of tests/export/layouts.py with a backbone of three maps, and a neck that enlarges the coarsest ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, parser

from tests.export.layouts import FAMILIES, STRIDES
from tests.export.opened import ASKED, family_network, opened, pictures
from triton_yolo.export.network import Network
from triton_yolo.export.proof_maker import make_proof
from triton_yolo.export.recognise import RecognisedNetwork
from triton_yolo.export.repository import write_repository
from triton_yolo.export.served_graph import served_graph
from triton_yolo.export.served_model import served_model_for
from triton_yolo.export.served_proof import ServedProof
from triton_yolo.export.split.proved import Split, split_graph

SIZE, TOP_K = (320, 320), 300
# c8, c16 and c32 are means of the pixels' channels; beside the backbone lies a lateral convolution that is wider.
NECK = """<ir_version: 10, opset_import: ["" : {opset}]>
net (float[N, 3, 8, 8] images) => (float[N, 3, 1, 1] n8)
{{
    m8 = Conv <strides = [8, 8]> (images, mean8)  c8 = Relu (m8)
    m16 = Conv <strides = [2, 2]> (c8, mean2)  c16 = Relu (m16)
    m32 = Conv <strides = [2, 2]> (c16, mean2)  c32 = Relu (m32)
    wide = Conv (c32, widen)  n32 = Conv (wide, narrow)
    up16 = Resize <mode = "nearest"> (n32, , twice)
    s16 = Add (c16, up16)  n16 = Mul (s16, neck_half)
    up8 = Resize <mode = "nearest"> (n16, , twice)
    lateral = Conv (c8, widen)  l8 = Conv (lateral, narrow)
    s8 = Add (l8, up8)  n8 = Mul (s8, neck_half)
}}"""


def with_neck(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put a backbone and a neck before the convolutions of a network of layouts.py, which lie on its pixels."""
    neck = parser.parse_model(NECK.format(opset=model.opset_import[0].version))
    eye = np.eye(3, dtype=np.float32)[..., None, None]
    values = {
        "mean8": np.broadcast_to(eye / 64, (3, 3, 8, 8)),
        "mean2": np.broadcast_to(eye / 4, (3, 3, 2, 2)),
        "widen": np.concatenate([eye, np.zeros((2, 3, 1, 1), np.float32)]),
        "narrow": np.concatenate([eye, np.zeros((3, 2, 1, 1), np.float32)], axis=1),
        "twice": np.array([1, 1, 2, 2], np.float32),
        "neck_half": np.float32(0.5),
    }
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.node[:]
    changed.graph.node.extend(neck.graph.node)
    for node in model.graph.node:
        if node.op_type == "Conv":
            stride = int(node.output[0].removeprefix("map"))
            node = onnx.helper.make_node("Conv", [f"n{stride}", *node.input[1:]], node.output)
        changed.graph.node.append(node)
    for tensor in changed.graph.initializer:
        if tensor.name.startswith("weights"):
            whole = numpy_helper.to_array(tensor).sum((2, 3), keepdims=True)
            tensor.CopyFrom(numpy_helper.from_array(whole, tensor.name))
    changed.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name) for name, array in values.items()
    )
    assert len(STRIDES) == 3
    onnx.checker.check_model(changed, full_check=True)
    return changed


def opened_with_neck(name: str) -> tuple[Network, RecognisedNetwork]:
    """Open the network of a family with its neck."""
    family = FAMILIES[name]
    model = with_neck(family_network(family, size=SIZE))
    return opened(model, input=family.input if name in ASKED else None)


@cache
def split_family(name: str) -> tuple[onnx.ModelProto, ServedProof, RecognisedNetwork, Split]:
    """The served graph of a family's network with a neck, its proof, what was recognised, and its halves."""
    network, recognised = opened_with_neck(name)
    graph = served_graph(network, recognised, TOP_K)
    shown = pictures(4, SIZE)
    served = served_model_for(recognised, graph, 100)
    proof = make_proof(graph, graph.SerializeToString(deterministic=True), shown, served.thresholds)
    return graph, proof, recognised, split_graph(graph, [], shown, proof, served.letterbox)


def split_repository(target: Path, name: str = "yolov8") -> Path:
    """Write a repository whose network is quick, and cut in two."""
    graph, proof, recognised, split = split_family(name)
    served = served_model_for(recognised, graph, 100)
    write_repository(target, graph.SerializeToString(deterministic=True), proof.to_bytes(), served, split)
    return target
