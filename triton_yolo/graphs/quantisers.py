"""Takes the Q/DQ pairs out of a graph, for runtimes that do not compute INT8, or compute it wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from triton_yolo.graphs.structure import attribute_of, part_of


def without_quantisers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Leave out Q/DQ pairs, and dequantise the weights.

    Args:
        model: whose nodes are in order.

    Returns:
        a new graph; the types of its tensors are those of the scales, as before.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in copy.graph.initializer}
    quantised: dict[str, str] = {}
    same: dict[str, str] = {}
    for node in copy.graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
        if node.op_type == "QuantizeLinear":
            quantised[node.output[0]] = node.input[0]
        elif node.op_type == "DequantizeLinear" and node.input[0] in quantised:
            same[node.output[0]] = quantised[node.input[0]]
        elif node.op_type == "DequantizeLinear" and node.input[0] in constants:
            copy.graph.initializer.append(numpy_helper.from_array(_dequantised(node, constants), node.output[0]))
    gone = {*same, *(tensor.name for tensor in copy.graph.initializer)}
    kept = [node for node in copy.graph.node if node.output[0] not in gone]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return part_of(copy, copy.graph.input, copy.graph.output)


def _dequantised(node: onnx.NodeProto, constants: dict[str, TensorProto]) -> npt.NDArray[Any]:
    """Return what a DequantizeLinear makes of a constant (ONNX, operator DequantizeLinear)."""
    values, scale, *zero = (numpy_helper.to_array(constants[name]) for name in node.input if name)
    axis = attribute_of(node, "axis", 1)
    shape = [-1 if number == axis % values.ndim else 1 for number in range(values.ndim)] if scale.ndim else []
    whole = values.astype(np.int32) - (zero[0].astype(np.int32).reshape(shape) if zero else 0)
    return np.asarray(whole * scale.astype(np.float64).reshape(shape), scale.dtype)
