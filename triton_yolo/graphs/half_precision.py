"""Converts a served graph to float16, except what decodes boxes and sorts scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from triton_yolo.contract import OUTPUT
from triton_yolo.graphs.structure import in_order, makers_of, part_of, read_by


def name_nodes(model: onnx.ModelProto) -> None:
    """Give each node a unique name; nodes that have one keep it."""
    times = Counter(node.name for node in model.graph.node)
    for number, node in enumerate(model.graph.node):
        if not node.name or times[node.name] > 1:
            node.name = f"{node.op_type}_{number}"
            while times[node.name]:  # exporters number names too
                node.name += "_"


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
    """Return the nodes with these names and all that they need."""
    makers = makers_of(model)
    nodes = [node for node in model.graph.node if node.name in set(names)]
    found: set[str] = set()
    while nodes:
        node = nodes.pop()
        if node.name not in found:
            found.add(node.name)
            nodes += [makers[name] for name in read_by(node) if name in makers]
    return found


def last_convolutions(model: onnx.ModelProto) -> set[str]:
    """Return the convolutions behind which only the head's arithmetic follows: they make logits of boxes and scores.

    A convolution that takes the mean of a distribution (it reads a Softmax; distribution focal loss,
    https://arxiv.org/abs/2006.04388) is arithmetic of the head too, so it counts as one and so do those before it.
    """
    makers = makers_of(model)
    found: set[str] = set()
    seen: set[str] = set()
    tensors = [value.name for value in model.graph.output]
    while tensors:
        node = makers.get(tensors.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.op_type == "Conv":
            found.add(node.name)
            if not _reads_softmax(node, makers):
                continue
        tensors += read_by(node)
    return found


def logits_of(model: onnx.ModelProto) -> set[str]:
    """Return the last convolutions without those that decode: those that no other one follows."""
    makers = makers_of(model)
    last = last_convolutions(model)
    return {node.name for node in model.graph.node if node.name in last and not _reads_softmax(node, makers)}


def _reads_softmax(convolution: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> bool:
    """Return whether a Softmax precedes a convolution, with nothing in between that computes."""
    node = makers.get(convolution.input[0])
    while node is not None and node.op_type in ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity"):
        node = makers.get(node.input[0])
    return node is not None and node.op_type == "Softmax"
