"""Moves the choice of the best anchors before the decoding of their boxes, so that only those are decoded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import helper

from triton_yolo.graphs.node_builder import NodeBuilder, UnknownTensor
from triton_yolo.graphs.structure import attribute_of, in_order, makers_of, opset_of, part_of
from triton_yolo.graphs.tensor_info import BATCH_SIZE, TensorInfo, measured_tensors
from triton_yolo.server.runtimes.onnxruntime_cuda.split_removal import CHANNELS, without_splits

ELEMENTWISE = {"Add", "Cast", "Div", "Exp", "Identity", "Mul", "Pow", "Sigmoid", "Sub"}
MOVED = ELEMENTWISE | {"Concat", "Conv", "ReduceMax", "ReduceSum", "Reshape", "Slice", "Softmax", "Split", "Transpose"}
SINCE = 13  # the operator set whose Softmax is along one axis, and whose axes to sum over are a tensor


def decode_late(model: onnx.ModelProto) -> onnx.ModelProto:
    """Gather the best K of A anchors where the network begins to decode them, not where it ends.

    A network that decodes its own boxes does so for all anchors: YOLOv8 and its successors take softmaxes over 64
    numbers of each. What treats anchors one by one gives the same for K of them.

    Args:
        model: a served graph, whose nodes are in order.

    Returns:
        a graph that computes the same; the given one where nothing can be gained.
    """
    nodes = model.graph.node
    choices = ((node, _chosen_by(model, node.output[1])) for node in reversed(nodes) if node.op_type == "TopK")
    top, chosen = next((pair for pair in choices if pair[1] is not None), (None, None))
    if top is None or chosen is None or opset_of(model) < SINCE:
        return model
    predictions, axis = chosen.input[0], 2 if chosen.op_type == "GatherElements" else 1
    names = {top.output[1], *_behind(model, predictions)}
    names.update(name for node in nodes if node.op_type == "Split" and node.input[0] in names for name in node.output)
    tensors = measured_tensors(model, names)
    unsplit = without_splits(model, tensors)
    gathering = _Gathering(unsplit, tensors, top)
    try:
        best = gathering.of(predictions, axis)
    except UnknownTensor:
        return model
    if not gathering.moved:
        return model
    for node in unsplit.graph.node:
        node.input[:] = [best if name == chosen.output[0] else name for name in node.input]
    unsplit.graph.node.extend(gathering.nodes)
    unsplit.graph.initializer.extend(gathering.constants)
    ordered = in_order(unsplit)
    return part_of(ordered, ordered.graph.input, ordered.graph.output)


def _chosen_by(model: onnx.ModelProto, index: str) -> onnx.NodeProto | None:
    """Return the node that gathers the predictions of the best anchors: those of boxes, where scores are apart."""
    same = {index}
    node: onnx.NodeProto
    for node in model.graph.node:
        if node.op_type in ("Unsqueeze", "Expand") and node.input[0] in same:
            same.update(node.output)
        elif node.op_type in ("GatherElements", "GatherND") and node.input[1] in same:
            return node
    return None


def _behind(model: onnx.ModelProto, predictions: str) -> Iterator[str]:
    """Yield the predictions and all tensors that they are made of, back to the network's last convolutions."""
    makers, left, seen = makers_of(model), [predictions], {""}
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            yield name
            node = makers.get(name)
            if node is not None and node.op_type in MOVED and (node.op_type != "Conv" or _sums(node, model)):
                left += node.input


def _sums(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    """Return whether a convolution makes one number of each pixel's channels, as YOLOv8 does behind its softmax."""
    weights = next((tensor for tensor in model.graph.initializer if tensor.name == node.input[1]), None)
    return weights is not None and weights.dims[0] * math.prod(weights.dims[2:]) == 1


class _Gathering(NodeBuilder):
    """Makes, of tensors with an axis of A anchors, those of the best K."""

    def __init__(self, model: onnx.ModelProto, tensors: dict[str, TensorInfo], top: onnx.NodeProto) -> None:
        super().__init__(model, tensors)
        self.index = top.output[1]  # int64 [N, K]
        _, self.best = self.shape(self.index)
        self.needed = set(_behind(model, top.input[0]))  # for the scores of all anchors
        self.moved = 0
        self.done: dict[str, str] = {}
        self.axes: dict[str, int] = {}  # of the anchors in what is done

    def of(self, name: str, axis: int) -> str:
        """Return the name of the tensor with the best anchors.

        Args:
            name: of the tensor with all.
            axis: of its anchors.

        Raises:
            UnknownTensor: nothing that is known here gathers them.
        """
        if self.axes.setdefault(name, axis) != axis:
            raise UnknownTensor
        if name not in self.done:
            node = self.makers.get(name)
            inputs = self._inputs(node, axis) if node is not None and node.op_type in MOVED else None
            if node is None or inputs is None:
                self.done[name] = self._gathered(name, axis)
            else:
                moved = helper.make_node(node.op_type, inputs, [f"{o}/best" for o in node.output], name=f"{name}/best")
                moved.attribute.extend(a for a in node.attribute if a.name != "allowzero")
                self.nodes.append(moved)
                self.moved += 1
                self.done |= dict(zip(node.output, moved.output, strict=True))
                self.axes |= dict.fromkeys(node.output, axis)
        return self.done[name]

    def _inputs(self, node: onnx.NodeProto, axis: int) -> list[str] | None:
        """Return what a node takes to make the best anchors alone; None where it does not treat each by itself."""
        first, *others = node.input
        shape, operator = self.shape(node.output[0]), node.op_type
        if operator in ELEMENTWISE:
            return [self._broadcast(name, axis, len(shape)) for name in node.input]
        if operator in ("Concat", "Softmax", "Split"):
            if attribute_of(node, "axis", -1 if operator == "Softmax" else 0) % len(shape) == axis:
                return None
            return [self.of(i, axis) for i in node.input] if operator == "Concat" else [self.of(first, axis), *others]
        if operator == "Slice":
            if len(others) < 3 or any(a % len(shape) == axis for a in self.values(others[2])):
                return None
            return [self.of(first, axis), *map(self._fixed, others)]
        own = self._own(node, self.shape(first), shape, axis)
        if own is None:
            return None
        if operator == "Reshape":
            target = [*shape[:axis], self.best, *shape[axis + 1 :]]
            others = [self.constant(f"{node.output[0]}/shape", target)]
        return [self.of(first, own), *others]

    def _own(self, node: onnx.NodeProto, before: tuple[int, ...], shape: tuple[int, ...], axis: int) -> int | None:
        """Return where the anchors are in front of a node; None where it takes them apart."""
        if node.op_type == "Transpose":
            return int(attribute_of(node, "perm", None)[axis])
        if node.op_type == "Conv":
            alone = axis > CHANNELS and _sums(node, self.model) and before[CHANNELS + 1 :] == shape[CHANNELS + 1 :]
            return axis if alone else None
        if node.op_type in ("ReduceMax", "ReduceSum"):
            if len(node.input) < 2:
                return None
            gone = {int(a) % len(before) for a in self.values(node.input[1])}
            left = [a for a in range(len(before)) if attribute_of(node, "keepdims", 1) or a not in gone]
            return left[axis] if left[axis] not in gone else None
        if not before[0] == shape[0] == BATCH_SIZE or BATCH_SIZE in before[1:] + shape[1:]:
            return None
        rows = math.prod(shape[1:axis])
        return next((a for a, n in enumerate(before) if n == shape[axis] and math.prod(before[1:a]) == rows), None)

    def _broadcast(self, name: str, axis: int, rank: int) -> str:
        """Return an input of an elementwise operator: with the best anchors, or itself if it is the same for all."""
        tensor = self.tensor(name)
        own = axis - (rank - len(tensor.shape))
        if own < 0 or tensor.shape[own] == 1:
            return name
        return self.of(name, own) if tensor.values is None else self._chosen(name, axis, rank)

    def _fixed(self, name: str) -> str:
        """Return a constant that exporters compute from shapes of tensors that no longer exist."""
        if name not in self.makers:
            return name
        out = f"{name}/fixed"
        if out not in self.done:
            self.done[out] = self.constant(out, self.values(name))
        return self.done[out]

    def _chosen(self, name: str, axis: int, rank: int) -> str:
        """Return the best anchors of a constant, which gets all axes of the tensor that it is broadcast to."""
        values = self.values(name)
        values = np.moveaxis(values.reshape((1,) * (rank - values.ndim) + values.shape), axis, 0)
        if values.shape[1] != 1:
            raise UnknownTensor
        out = f"{name}/best{axis}"
        if out not in self.done:
            rows = self.add("Gather", [self.constant(f"{out}/all", values[:, 0]), self.index], f"{out}/rows", axis=0)
            order = [0, *range(2, rank)]  # the anchors are behind the batch
            order.insert(axis, 1)
            self.done[out] = self.add("Transpose", [rows], out, perm=order)
        return self.done[out]

    def _gathered(self, name: str, axis: int) -> str:
        """Gather here."""
        shape, out = self.shape(name), f"{name}/best"
        if shape[0] != BATCH_SIZE:
            raise UnknownTensor
        maps = self._maps(name, shape[CHANNELS]) if axis == 2 and len(shape) == 3 and name not in self.needed else None
        if maps:
            return self._of_maps(maps, shape[CHANNELS], out)
        thin = [BATCH_SIZE, *(1 for _ in shape[1:])]
        thin[axis] = self.best
        flat = self.add("Reshape", [self.index, self.constant(f"{out}/thin", thin)], f"{out}/flat")
        wide = [1, *shape[1:]]
        wide[axis] = 1
        index = self.add("Expand", [flat, self.constant(f"{out}/wide", wide)], f"{out}/index")
        return self.add("GatherElements", [name, index], out, axis=axis)

    def _maps(self, name: str, channels: int) -> list[str] | None:
        """Return the maps [N, C, h, w] that a tensor [N, C, A] lines up; None if it is made otherwise."""
        node = self.maker(name)
        if node is None or node.op_type != "Concat" or attribute_of(node, "axis", 0) % 3 != 2:
            return None
        pieces = [self.maker(piece) for piece in node.input]
        maps = [piece.input[0] for piece in pieces if piece is not None and piece.op_type == "Reshape"]
        alike = all(len(self.shape(m)) == 4 and self.shape(m)[CHANNELS] == channels for m in maps)
        return maps if alike and len(maps) == len(pieces) else None

    def _of_maps(self, maps: Sequence[str], channels: int, out: str) -> str:
        """Gather rows of channels, which lie side by side in the maps that convolutions make on a GPU."""
        target, kind = self.constant(f"{out}/shape", [BATCH_SIZE, -1, channels]), None
        casts = [node for name in maps if (node := self.maker(name)) is not None and node.op_type == "Cast"]
        kinds = {self.tensor(node.input[0]).dtype for node in casts}
        if len(casts) == len(maps) and len(kinds) == 1:  # K rows are cast in less time than all
            maps, kind = [node.input[0] for node in casts], attribute_of(casts[0], "to", None)
        rows = []
        for number, name in enumerate(maps):
            last = self.add("Transpose", [name], f"{out}/last{number}", perm=[0, 2, 3, 1])
            rows.append(self.add("Reshape", [last, target], f"{out}/rows{number}"))
        lined = self.add("Concat", rows, f"{out}/lined", axis=1)
        where = self.add("Unsqueeze", [self.index, self.constant(f"{out}/minus", [-1])], f"{out}/where")
        chosen = self.add("GatherND", [lined, where], f"{out}/chosen", batch_dims=1)
        if kind is not None:
            chosen = self.add("Cast", [chosen], f"{out}/cast", to=kind)
        return self.add("Transpose", [chosen], out, perm=[0, 2, 1])
