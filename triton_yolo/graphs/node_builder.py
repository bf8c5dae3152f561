"""Builds nodes and constants for a graph whose tensors are known."""

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
    """What a rewriting needs to know about a tensor is not known."""


class NodeBuilder:
    """Nodes and constants that are to be added to a graph.

    Attributes:
        model: the graph.
        tensors: what is known about its tensors, by name.
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
        """Return the node that makes a tensor, None if none does; Identity nodes are passed over."""
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
        """Return what is known about a tensor.

        Raises:
            UnknownTensor: nothing is.
        """
        if name not in self.tensors:
            raise UnknownTensor
        return self.tensors[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return its shape, or raise as tensor() does."""
        return self.tensor(name).shape

    def values(self, name: str) -> npt.NDArray[Any]:
        """Return its values, which depend neither on pixels nor on the batch, or raise as tensor() does."""
        values = self.tensor(name).values
        if values is None:
            raise UnknownTensor
        return values
