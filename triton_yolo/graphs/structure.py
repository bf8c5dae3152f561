"""The structure of ONNX graphs: the order of nodes, graphs inside nodes, and parts of a graph."""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Sequence
from typing import Any

import onnx

from triton_yolo.errors import GraphError


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators that a model uses."""
    return int(next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")))


def makers_of(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Return the node that makes each tensor."""
    return {name: node for node in model.graph.node for name in node.output if name}


def attribute_of(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return the value of an attribute, or its default."""
    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def in_order(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put nodes after those they depend on; tools that convert to FP16 are known to break the order."""
    makers = {name: i for i, node in enumerate(model.graph.node) for name in node.output if name}
    needs = {i: sorted({makers[n] for n in read_by(node) if n in makers}) for i, node in enumerate(model.graph.node)}
    if all(before < i for i, befores in needs.items() for before in befores):
        return model
    try:
        order = list(graphlib.TopologicalSorter(needs).static_order())
    except graphlib.CycleError:
        raise GraphError("is not valid ONNX: its operators form a loop. Export it again") from None
    ordered = onnx.ModelProto()
    ordered.CopyFrom(model)
    del ordered.graph.node[:]
    ordered.graph.node.extend(model.graph.node[i] for i in order)
    return ordered


def _bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the graphs inside a node, as If and Loop have them."""
    return [body for attribute in node.attribute for body in (attribute.g, *attribute.graphs) if body.node]


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph and of the graphs inside them."""
    for node in graph.node:
        yield node
        for body in _bodies(node):
            yield from all_nodes(body)


def read_by(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the tensors that a node reads, and the graphs inside it."""
    yield from node.input
    for body in _bodies(node):
        for inner in body.node:
            yield from read_by(inner)
        yield from (output.name for output in body.output)


def part_of(
    model: onnx.ModelProto, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    """Cut out the part of a graph between tensors.

    Args:
        model: whose nodes are in order.
        inputs: tensors that are given; what makes them is left out.
        outputs: tensors that are wanted; what they do not need is left out.
    """
    part = onnx.ModelProto()
    part.CopyFrom(model)
    given, needed, kept = {value.name for value in inputs}, {value.name for value in outputs}, []
    for node in reversed(model.graph.node):
        if any(name in needed and name not in given for name in node.output):
            kept.append(node)
            needed.update(read_by(node))
    for listed, wanted in ((part.graph.node, kept[::-1]), (part.graph.input, inputs), (part.graph.output, outputs)):
        del listed[:]
        listed.extend(wanted)
    weights = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    del part.graph.initializer[:]
    part.graph.initializer.extend(weights)
    return part


def renamed(model: onnx.ModelProto, old: str, new: str) -> onnx.ModelProto:
    """Return a copy in which a tensor has another name; graphs inside nodes may not read it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*copy.graph.input, *copy.graph.output, *copy.graph.initializer):
        value.name = new if value.name == old else value.name
    return copy
