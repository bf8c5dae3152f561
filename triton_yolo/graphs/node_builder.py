"""Makes nodes that are to be added to a graph whose tensors are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from triton_yolo.graphs.structure import makers_of
from triton_yolo.graphs.tensor_info import TensorInfo


class UnknownTensor(Exception):
    """Something has to be known of a tensor that is not."""


class NodeBuilder:
    """Nodes and constants that are to be added to a graph.

    Attributes:
        model: the graph.
        tensors: of it that are known.
        makers: the node that makes each of its tensors.
        nodes: to be added.
        constants: to be added.
    """

    def __init__(self, model: onnx.ModelProto, tensors: dict[str, TensorInfo]) -> None:
        """Add nothing yet."""
        self.model, self.tensors = model, tensors
        self.makers = makers_of(model)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def maker(self, name: str) -> onnx.NodeProto | None:
        """The node of the graph that makes a tensor, if one does; those that only pass it on do not count."""
        node = self.makers.get(name)
        return self.maker(node.input[0]) if node is not None and node.op_type == "Identity" else node

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node of one output, and return that output's name, which is the node's too."""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: npt.NDArray[Any] | Sequence[int]) -> str:
        """Add a constant, and return its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def tensor(self, name: str) -> TensorInfo:
        """What is known of a tensor.

        Raises:
            UnknownTensor: nothing.
        """
        if name not in self.tensors:
            raise UnknownTensor
        return self.tensors[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Likewise, its shape."""
        return self.tensor(name).shape

    def values(self, name: str) -> npt.NDArray[Any]:
        """Likewise, its values, which hang neither on pixels nor on the batch."""
        values = self.tensor(name).values
        if values is None:
            raise UnknownTensor
        return values
