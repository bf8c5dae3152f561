"""Where a served graph is cut: behind its backbone, at the tensors of the fewest bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from triton_yolo.contract import INPUT, OUTPUT
from triton_yolo.export.errors import ExportError
from triton_yolo.graphs.cuts import NoCut, narrowest_cut
from triton_yolo.graphs.structure import attribute_of, makers_of, part_of, read_by
from triton_yolo.graphs.tensor_info import BATCH_SIZE, TensorInfo, measured_tensors

UPSAMPLING = ("Resize", "Upsample", "ConvTranspose", "DepthToSpace")
COMPUTING = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# What gives of rounded numbers the same as of numbers that are rounded behind it.
KEEPS = ("Concat", "Identity", "MaxPool", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
NAME_THEM = "name the tensors with --split-at NAME,NAME"


@dataclass(frozen=True)
class Feature:
    """A tensor at which a graph is cut.

    Attributes:
        name: of the tensor.
        shape: without the batch.
        scale: of the quantiser that follows in the graph itself, so that nothing is lost by cutting there; None where
            several follow, or none.
    """

    name: str
    shape: tuple[int, ...]
    scale: np.floating[Any] | None

    @property
    def size(self) -> int:
        """Numbers that it has, which are as many bytes in INT8."""
        return math.prod(self.shape)


def shown_tensors(tensors: Sequence[Feature]) -> str:
    """Return the names and shapes of tensors, for messages."""
    return ", ".join(f"{tensor.name} {'x'.join(map(str, tensor.shape))}" for tensor in tensors)


def find_cut(graph: onnx.ModelProto, names: Sequence[str] = ()) -> list[Feature]:
    """Return the tensors at which a served graph is cut.

    The backbone ends with the coarsest map that is enlarged again, and the neck begins where it is; between them, and
    beside, the cut goes where the features have the fewest bytes. Where the graph is in INT8 it goes, if it can, where
    the graph quantises anyway. A network that enlarges nothing is cut before its decoding.

    Args:
        graph: a served graph.
        names: of the tensors, in the graph's or the original network's words; empty finds them.

    Raises:
        ExportError: there is no such place, or the named tensors do not lie between the pixels and the candidates.
    """
    tensors = _tensors(graph)
    follow = _Followers(graph)
    if names:
        return _features(graph, _named(graph, tensors, names), tensors, follow)
    above, below = _parts(graph, tensors)
    kept = _ancestors(graph, above)
    computed = {name for node in graph.graph.node if node.op_type in COMPUTING for name in node.output}
    behind = _descendants(graph, computed) | computed  # what lies before the first convolution is no feature

    def width(name: str, exact: bool) -> int | None:
        if name not in tensors or name not in behind or (exact and follow.scale(name, kept) is None):
            return None
        return math.prod(tensors[name].shape[1:])

    for exact in (True, False):
        try:
            cut = narrowest_cut(graph, above, below, partial(width, exact=exact))
        except NoCut:
            continue
        return _features(graph, cut, tensors, follow)
    raise ExportError(f"there is no place between the network's backbone and its detections to cut it at: {NAME_THEM}")


def _tensors(graph: onnx.ModelProto) -> dict[str, TensorInfo]:
    """Return the float tensors that have a row for each image, and depend on it."""
    weights = {tensor.name for tensor in graph.graph.initializer}
    nodes = [
        node for node in graph.graph.node if node.op_type != "QuantizeLinear" and not weights.issuperset(node.input)
    ]
    names = [name for node in nodes for name in node.output if name]
    found = measured_tensors(graph, names)
    return {
        name: info
        for name, info in found.items()
        if info.values is None
        and np.issubdtype(info.dtype, np.floating)
        and info.shape[:1] == (BATCH_SIZE,)
        and BATCH_SIZE not in info.shape[1:]
        and len(info.shape) > 1
    }


def _parts(graph: onnx.ModelProto, tensors: Mapping[str, TensorInfo]) -> tuple[set[str], set[str]]:
    """Return tensors that the first half makes, and tensors that the second does."""
    enlarged = [node for node in graph.graph.node if _enlarges(node, tensors)]
    if not enlarged:
        computing = [node.output[0] for node in graph.graph.node if node.op_type in COMPUTING]
        before = _ancestors(graph, set(computing))
        return set(), {name for node in graph.graph.node for name in node.output if name and name not in before}
    neck = {node.output[0] for node in enlarged}
    first = enlarged[0]
    backbone = _ancestors(graph, {first.output[0]})
    coarsest = tensors[first.input[0]].shape[2:]
    for node in graph.graph.node:  # in order: the first map of that size ends the backbone
        name = node.output[0]
        if name in backbone and name in tensors and tensors[name].shape[2:] == coarsest:
            return {name}, neck
    raise AssertionError("the map that is enlarged has the size of itself")


def _enlarges(node: onnx.NodeProto, tensors: Mapping[str, TensorInfo]) -> bool:
    if node.op_type not in UPSAMPLING or not {node.input[0], node.output[0]} <= tensors.keys():
        return False
    before, after = (tensors[name].shape for name in (node.input[0], node.output[0]))
    return len(before) == 4 and math.prod(after[2:]) > math.prod(before[2:])


def _ancestors(graph: onnx.ModelProto, names: set[str]) -> set[str]:
    """Return tensors, and those that they are made of."""
    found = set(names)
    for node in reversed(graph.graph.node):
        if found.intersection(node.output):
            found.update(read_by(node))
    return found


def _descendants(graph: onnx.ModelProto, names: set[str]) -> set[str]:
    """Return what is made of tensors."""
    found = set(names)
    for node in graph.graph.node:
        if found.intersection(read_by(node)):
            found.update(node.output)
    return found


class _Followers:
    """The quantisers that follow behind tensors."""

    def __init__(self, graph: onnx.ModelProto) -> None:
        self._constants = {tensor.name: tensor for tensor in graph.graph.initializer}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        self._dequantised = {n.output[0]: n for n in graph.graph.node if n.op_type == "DequantizeLinear"}
        for node in graph.graph.node:
            for name in read_by(node):
                self._readers.setdefault(name, []).append(node)

    def scale(self, name: str, kept: set[str]) -> np.floating[Any] | None:
        """Return the scale with which a tensor was dequantised from INT8, or with which all of its readers quantise it.

        None where neither is so.

        Args:
            name: of the tensor.
            kept: tensors whose makers read it before it is cut, and do not count.
        """
        if name in self._dequantised:
            return self._quantiser(self._dequantised[name])
        scales: set[np.floating[Any] | None] = set()
        for node in self._readers.get(name, []):
            if node.op_type == "Shape" or kept.issuperset(node.output):
                continue
            if node.op_type == "QuantizeLinear":
                scales.add(self._quantiser(node))
            elif node.op_type in KEEPS and attribute_of(node, "mode", b"nearest") == b"nearest":
                scales |= {self.scale(output, kept) for output in node.output}
            else:
                return None
        return scales.pop() if len(scales) == 1 else None

    def _quantiser(self, node: onnx.NodeProto) -> np.floating[Any] | None:
        if len(node.input) < 3 or not {node.input[1], node.input[2]} <= self._constants.keys():
            return None
        scale, zero = (numpy_helper.to_array(self._constants[name]) for name in node.input[1:3])
        if scale.ndim or zero.dtype != np.int8 or zero.any():
            return None
        only: Any = scale[()]
        return only  # type: ignore[no-any-return]


def _features(
    graph: onnx.ModelProto, names: Sequence[str], tensors: Mapping[str, TensorInfo], follow: _Followers
) -> list[Feature]:
    """Return what is known of the tensors of a cut; readers before it do not count."""
    behind = part_of(graph, [onnx.ValueInfoProto(name=name) for name in names], graph.graph.output)
    made = {name for node in behind.graph.node for name in node.output}
    before = {name for node in graph.graph.node for name in node.output} - made
    return [Feature(name, tuple(tensors[name].shape[1:]), follow.scale(name, before)) for name in names]


def _named(graph: onnx.ModelProto, tensors: Mapping[str, TensorInfo], names: Sequence[str]) -> list[str]:
    """Return the graph's names of the tensors that a user names, in the graph's order.

    Raises:
        ExportError: one is not there, has no row for each image, or they do not cut the graph in two.
    """
    found = set()
    for name in names:
        real = next((one for one in (name, f"network/{name}") if one in tensors), None)
        if real is None:
            raise ExportError(f"--split-at: the graph has no tensor {name} with floats of each image")
        found.add(real)
    makers = makers_of(graph)
    waiting, seen = [OUTPUT], set(found)
    if OUTPUT in found:
        raise ExportError(f"--split-at: {OUTPUT} is the graph's answer: nothing would be left for the server")
    while waiting:
        name = waiting.pop()
        if name == INPUT:
            raise ExportError(
                f"--split-at: {', '.join(names)} do not cut the graph in two: there is a way from the pixels to the "
                "detections past them"
            )
        if name in seen or name not in makers:
            continue
        seen.add(name)
        waiting += read_by(makers[name])
    useless = [name for name in found if not _is_read(graph, name, found)]
    if useless:
        raise ExportError(f"--split-at: the detections do not need {', '.join(sorted(useless))}")
    return [name for node in graph.graph.node for name in node.output if name in found]


def _is_read(graph: onnx.ModelProto, name: str, others: set[str]) -> bool:
    """Return whether the answer depends on a tensor other than through the others."""
    read = {name}
    for node in graph.graph.node:
        if read.intersection(read_by(node)):
            read.update(output for output in node.output if output not in others)
    return OUTPUT in read
