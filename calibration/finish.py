"""The last steps of a quantised graph: the rest in float16, and a small file."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from calibration.layers import logits_of
from export.contract import INPUT, OUTPUT
from export.graphs import all_nodes, in_order, part_of, read_by

REST = ("fp16", "fp32")  # what computes the layers that are not INT8


def finished(model: onnx.ModelProto, rest: str) -> onnx.ModelProto:
    """Make the graph that is written.

    Args:
        model: of quantised.
        rest: of REST.
    """
    return compact(halved(model) if rest == "fp16" else model)


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute in float16 up to the last convolutions; what decodes boxes and sorts scores stays float32.

    Float16 has steps of half a pixel beyond 512. TensorRT runs every layer in the type that the graph gives it.

    Args:
        model: float32 but for its Q/DQ pairs.

    Returns:
        a new graph; scales of Q/DQ pairs are float16 too, which takes operator set 19.
    """
    before = _before(model, logits_of(model))
    behind = [node.name for node in model.graph.node if node.name not in before]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    half = convert_float_to_float16(
        copy, keep_io_types=True, disable_shape_infer=False, op_block_list=[], node_block_list=behind
    )
    # It adds the same cast once for each reader, and at the end.
    nodes = {node.output[0]: node for node in half.graph.node}
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes.values()]
    del half.graph.node[:]
    half.graph.node.extend(kept)
    return _without_detours(in_order(half), {node.name for node in model.graph.node})


def _without_detours(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """Leave out the casts to float16 and straight back that the converter puts between all nodes of float32.

    Args:
        model: whose nodes are in order.
        names: of the nodes that were there before.
    """
    added = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Cast" and n.name not in names}
    new = {name: added[source] for name, source in added.items() if source in added}
    for node in [node for node in model.graph.node if node.output[0] in new]:
        model.graph.node.remove(node)
    if OUTPUT in new:
        new[new.pop(OUTPUT)] = OUTPUT
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [new.get(name, name) for name in values]
    return part_of(model, model.graph.input, model.graph.output)


def _before(model: onnx.ModelProto, names: Iterable[str]) -> set[str]:
    """The nodes with these names and all that they need."""
    makers = {name: node for node in model.graph.node for name in node.output if name}
    nodes = [node for node in model.graph.node if node.name in set(names)]
    found: set[str] = set()
    while nodes:
        node = nodes.pop()
        if node.name not in found:
            found.add(node.name)
            nodes += [makers[name] for name in read_by(node) if name in makers]
    return found


def compact(model: onnx.ModelProto) -> onnx.ModelProto:
    """Leave out what a small graph's file is full of: shapes, long tensor names, and zeros that are the default.

    The names of nodes stay, so that layers are known by them. One zero is left for all quantisers, which would make
    unsigned numbers without.

    Returns:
        a new graph that computes the same.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    used = _one_zero(copy)
    for tensor in [t for t in copy.graph.initializer if t.name not in used]:
        copy.graph.initializer.remove(tensor)
    if any(body is not copy.graph for body in _graphs(copy)):
        return copy  # names inside If and Loop hang together with those outside
    names = {name: name for name in ("", INPUT, OUTPUT)}
    for node in copy.graph.node:
        for values in (node.input, node.output):
            values[:] = [names.setdefault(name, f"t{len(names)}") for name in values]
    for tensor in copy.graph.initializer:
        tensor.name = names[tensor.name]
    return copy


def _one_zero(model: onnx.ModelProto) -> set[str]:
    """Let all quantisers share a zero point; returns the names of the tensors that nodes read."""
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((), np.int8), "zero"))
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            node.input[2] = "zero"
        elif node.op_type == "DequantizeLinear":
            del node.input[2:]
    return {name for node in model.graph.node for name in read_by(node)}


def _graphs(model: onnx.ModelProto) -> Iterable[onnx.GraphProto]:
    yield model.graph
    inner = [a.g for node in all_nodes(model.graph) for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    yield from inner
