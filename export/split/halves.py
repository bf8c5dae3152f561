"""The two halves of a served graph: one ends with INT8 features, the other begins with them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from triton_yolo.contract import EDGE_NAME, FEATURES, HEAD_NAME, OUTPUT
from triton_yolo.export.errors import ExportError
from triton_yolo.export.split.cut import Feature
from triton_yolo.graphs.runner import Runner
from triton_yolo.graphs.structure import part_of, renamed

LARGEST = 127  # of INT8, symmetric
PARTS = ("scale", "zero", "steps", "row", "shape")  # of what is added for each tensor

Pixels = npt.NDArray[np.uint8]
Features = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Halves:
    """A served graph in two.

    Attributes:
        edge: from ``images`` uint8 [N, 3, H, W] to ``features`` int8 [N, L]: the tensors one after the other.
        head: from ``features`` to ``candidates`` float32 [N, K, 6].
        tensors: at which the graph was cut.
        network: what tells them from the halves of others, hexadecimal.
    """

    edge: onnx.ModelProto
    head: onnx.ModelProto
    tensors: tuple[Feature, ...]
    network: str

    @property
    def length(self) -> int:
        """L, the bytes of an image's features."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def exact(self) -> bool:
        """Whether the graph itself quantises where it was cut, so that the halves lose nothing."""
        return all(tensor.scale is not None for tensor in self.tensors)


def cut_in_two(graph: onnx.ModelProto, tensors: Sequence[Feature], pictures: Pixels) -> Halves:
    """Cut a served graph at tensors.

    Args:
        graph: a served graph.
        tensors: at which to cut, as find_cut returns them.
        pictures: uint8 [N, 3, H, W]; where the graph does not quantise by itself, the largest value in them becomes
            the largest of INT8.

    Raises:
        ExportError: a tensor has values that are not finite, or none but 0.
    """
    content = graph.SerializeToString(deterministic=True)
    graph = renamed(graph, FEATURES, f"{FEATURES}/own")  # where it has a tensor of that name
    scales = _scales(graph, tensors, pictures)
    edge_nodes, head_nodes, constants, flat = [], [], [], []
    for number, (tensor, scale) in enumerate(zip(tensors, scales, strict=True)):
        near, zero, steps, rows, shape = (f"feature{number}/{part}" for part in PARTS)
        constants += [
            numpy_helper.from_array(np.asarray(scale), near),
            numpy_helper.from_array(np.zeros((), np.int8), zero),
            numpy_helper.from_array(np.array([-1, *tensor.shape], np.int64), shape),
        ]
        edge_nodes += [
            helper.make_node("QuantizeLinear", [tensor.name, near, zero], [steps]),
            helper.make_node("Flatten", [steps], [rows], axis=1),
        ]
        flat.append(rows)
        head_nodes += [
            helper.make_node("Reshape", [rows, shape], [steps]),
            helper.make_node("DequantizeLinear", [steps, near, zero], [tensor.name]),
        ]
    sizes = numpy_helper.from_array(np.array([tensor.size for tensor in tensors], np.int64), "feature_sizes")
    split = helper.make_node("Split", [FEATURES, sizes.name], flat, axis=1)
    values = [onnx.ValueInfoProto(name=tensor.name) for tensor in tensors]
    batch, length = graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param, sum(tensor.size for tensor in tensors)
    features = helper.make_tensor_value_info(FEATURES, TensorProto.INT8, [batch, length])

    edge = part_of(graph, graph.graph.input, values)
    edge.graph.node.extend([*edge_nodes, helper.make_node("Concat", flat, [FEATURES], axis=1)])
    edge.graph.initializer.extend(tensor for tensor in constants if not tensor.name.endswith("shape"))
    _finish(edge, EDGE_NAME, graph.graph.input, [features])
    head = part_of(graph, values, graph.graph.output)
    rest = list(head.graph.node)
    del head.graph.node[:]
    head.graph.node.extend([split, *head_nodes, *rest])
    head.graph.initializer.extend([*constants, sizes])
    _finish(head, HEAD_NAME, [features], graph.graph.output)
    identity = hashlib.sha256(repr([tensor.name for tensor in tensors]).encode() + content).hexdigest()
    return Halves(edge, head, tuple(tensors), identity)


def _finish(half: onnx.ModelProto, name: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    half.graph.name = name
    for listed, values in ((half.graph.input, inputs), (half.graph.output, outputs)):
        kept = list(values)
        del listed[:]
        listed.extend(kept)
    del half.graph.value_info[:]
    onnx.checker.check_model(half, full_check=True)


def _scales(graph: onnx.ModelProto, tensors: Sequence[Feature], pictures: Pixels) -> list[np.floating[Any]]:
    """Return the scale of each tensor: the graph's own, or one that the pictures' largest value gives."""
    missing = [tensor.name for tensor in tensors if tensor.scale is None]
    largest = dict.fromkeys(missing, np.float32(0))
    if missing:
        runner = Runner(part_of(graph, graph.graph.input, [onnx.ValueInfoProto(name=name) for name in missing]))
        for picture in pictures:
            for name, values in runner.run(picture[None]).items():
                largest[name] = max(largest[name], np.abs(values).max())
    for name, value in largest.items():
        if not 0 < value < np.inf:
            raise ExportError(f"the tensor {name} has values of up to {value}, which INT8 cannot carry: name others")
    return [
        tensor.scale if tensor.scale is not None else largest[tensor.name] / largest[tensor.name].dtype.type(LARGEST)
        for tensor in tensors
    ]


def run(halves: Halves, pictures: Pixels) -> tuple[Features, npt.NDArray[np.float32]]:
    """Run both halves with ONNX Runtime, picture by picture.

    Args:
        halves: of a graph.
        pictures: uint8 [N, 3, H, W].

    Returns:
        features int8 [N, L], and candidates float32 [N, K, 6].
    """
    edge, head = Runner(halves.edge), Runner(halves.head)
    features = np.concatenate([edge.run(picture[None])[FEATURES] for picture in pictures])
    return features, np.concatenate([head.run(row[None])[OUTPUT] for row in features])
