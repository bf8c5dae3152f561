"""Removes splits of channels that were concatenated before."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import helper

from triton_yolo.graphs.node_builder import NodeBuilder
from triton_yolo.graphs.structure import attribute_of
from triton_yolo.graphs.tensor_info import TensorInfo

CHANNELS = 1  # their axis


def without_splits(model: onnx.ModelProto, tensors: dict[str, TensorInfo]) -> onnx.ModelProto:
    """Return a copy in which channels that are concatenated, and later split again, are computed separately."""
    apart = _Apart(model, tensors)
    kept = []
    for node in model.graph.node:
        ways = None
        if node.op_type == "Split" and all(name in tensors for name in (*node.output, node.input[0])):
            shapes = [tensors[name].shape for name in node.output]
            if attribute_of(node, "axis", 0) % len(shapes[0]) == CHANNELS:
                ways = apart.ways(node.input[0], [shape[CHANNELS] for shape in shapes])
        if ways is None:
            kept.append(node)
        else:
            kept += [helper.make_node("Identity", [a], [b], name=b) for a, b in zip(ways, node.output, strict=True)]
    straight = onnx.ModelProto()
    straight.CopyFrom(model)
    del straight.graph.node[:]
    straight.graph.node.extend([*kept, *apart.nodes])
    straight.graph.initializer.extend(apart.constants)
    return straight


class _Apart(NodeBuilder):
    """Finds the tensors that channels come from."""

    def ways(self, name: str, sizes: Sequence[int]) -> list[str] | None:
        """Return tensors of so many channels each that make up a tensor; None if it is made otherwise."""
        node = self.maker(name)
        if node is None or name not in self.tensors or node.op_type not in ("Concat", "Reshape"):
            return None
        shape = self.shape(name)
        axis = attribute_of(node, "axis", 0) % len(shape)
        sources = node.input if node.op_type == "Concat" else node.input[:1]
        if any(source not in self.tensors for source in sources):
            return None
        if node.op_type == "Concat" and axis == CHANNELS:
            return list(sources) if [self.shape(source)[CHANNELS] for source in sources] == list(sizes) else None
        if node.op_type == "Reshape" and self.shape(sources[0])[: CHANNELS + 1] != shape[: CHANNELS + 1]:
            return None
        found = [self.ways(source, sizes) for source in sources]
        if None in found:
            return None
        return [self._part(node, sizes, number, [way[number] for way in found if way]) for number in range(len(sizes))]

    def _part(self, node: onnx.NodeProto, sizes: Sequence[int], number: int, sources: Sequence[str]) -> str:
        name = f"{node.output[0]}/{number} of {'+'.join(map(str, sizes))}"
        if name in self.tensors:
            return name
        whole = self.tensor(node.output[0])
        shape = (*whole.shape[:CHANNELS], sizes[number], *whole.shape[CHANNELS + 1 :])
        self.tensors[name] = TensorInfo(shape, whole.dtype)
        if node.op_type == "Concat":
            return self.add("Concat", sources, name, axis=attribute_of(node, "axis", 0))
        return self.add("Reshape", [*sources, self.constant(f"{name}/shape", shape)], name)
