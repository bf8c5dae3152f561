"""Says the same as a graph with operators that ONNX Runtime computes faster with CUDA; numbers stay as they are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from export.graphs import part_of

PLANES = 3
AVERAGE = 2  # pixels along each side
MOST_CHANNELS = 512  # of what becomes a dense convolution: with more, its zeros cost what they save
MOST_GROUPS = 8  # of a convolution that becomes a dense one; depthwise ones have a group for each channel, and a kernel

Value = tuple[int, list[int | None]]  # type and shape of a tensor, None where a size is not known


def with_cuda_operators(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace what takes the CUDA provider longer than it must, in its layout with the channels last.

    * The average of 2 x 2 pixels becomes a convolution: tensor cores beat the pooling kernel.
    * A convolution of a few groups becomes one, with zeros between them: cuDNN would cut the picture up, run each group
      by itself, and put the pieces together again.
    * The three planes of the input are concatenated behind each other's pixels, not transposed.

    Args:
        model: of one input, whose nodes are in order.

    Returns:
        a new graph.
    """
    inferred = shape_inference.infer_shapes(model)
    values = {value.name: _value(value) for value in (*inferred.graph.input, *inferred.graph.value_info)}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        kind, shape = values.get(node.input[0] if node.input else "", (0, []))
        if node.op_type == "Conv":
            nodes.append(_one_group(node, constants))
        elif node.op_type == "AveragePool" and _averages(node) and 0 < _channels(shape) <= MOST_CHANNELS:
            nodes.append(_as_convolution(node, kind, _channels(shape), constants))
        elif node.op_type == "Cast" and _are_planes(node.input[0], shape, model.graph):
            nodes += _channels_last(node, shape, constants)
        else:
            nodes.append(node)
    copy = onnx.ModelProto()
    copy.CopyFrom(inferred)
    for listed, wanted in ((copy.graph.node, nodes), (copy.graph.initializer, constants.values())):
        del listed[:]
        listed.extend(wanted)
    del copy.graph.value_info[:]
    return part_of(copy, copy.graph.input, copy.graph.output)


def _value(value: onnx.ValueInfoProto) -> Value:
    tensor = value.type.tensor_type
    return tensor.elem_type, [dim.dim_value or None for dim in tensor.shape.dim]


def _channels(shape: list[int | None]) -> int:
    """Of a batch of pictures; 0 where they are not known, or it is something else."""
    return (shape[1] or 0) if len(shape) == 4 else 0


def _are_planes(name: str, shape: list[int | None], graph: onnx.GraphProto) -> bool:
    return name == graph.input[0].name and _channels(shape) == PLANES and all(shape[2:])


def _one_group(node: onnx.NodeProto, constants: dict[str, TensorProto]) -> onnx.NodeProto:
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    tensor = constants.get(node.input[1])
    if tensor is None or not 1 < groups <= MOST_GROUPS or groups * tensor.dims[1] > MOST_CHANNELS:
        return node
    name = f"{node.output[0]}/dense"
    constants[name] = numpy_helper.from_array(_dense(numpy_helper.to_array(tensor), groups), name)
    convolution = onnx.NodeProto()
    convolution.CopyFrom(node)
    convolution.input[1] = name
    del convolution.attribute[:]
    convolution.attribute.extend(a for a in node.attribute if a.name != "group")
    return convolution


def _dense(weights: np.ndarray, groups: int) -> np.ndarray:
    """Each group's weights at its own inputs, zeros at the others: [M, C / groups, ...] to [M, C, ...]."""
    outputs, inputs, *kernel = weights.shape
    dense = np.zeros((outputs, groups, inputs, *kernel), weights.dtype)
    rows = np.arange(outputs)
    dense[rows, rows * groups // outputs] = weights
    return dense.reshape(outputs, groups * inputs, *kernel)


def _averages(node: onnx.NodeProto) -> bool:
    """Whether a pooling takes the mean of 2 x 2 pixels inside the picture, wherever they begin."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return (
        found.get("kernel_shape") == [AVERAGE] * 2
        and set(found.get("strides", [1])) == {1}
        and set(found.get("dilations", [1])) == {1}
        and not any(found.get("pads", []))
        and found.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
    )


def _as_convolution(
    node: onnx.NodeProto, kind: int, channels: int, constants: dict[str, TensorProto]
) -> onnx.NodeProto:
    """A quarter of each of four pixels of the same channel, nothing of the others: exact in every float type."""
    name = f"{node.output[0]}/quarters"
    weights = np.full((channels, 1, AVERAGE, AVERAGE), 1 / AVERAGE**2, helper.tensor_dtype_to_np_dtype(kind))
    constants[name] = numpy_helper.from_array(_dense(weights, channels), name)
    return helper.make_node("Conv", [node.input[0], name], node.output, node.name)


def _channels_last(
    node: onnx.NodeProto, shape: list[int | None], constants: dict[str, TensorProto]
) -> Iterator[onnx.NodeProto]:
    """ONNX Runtime transposes to channels last before the first convolution; this transposition undoes that one."""
    source, name = node.input[0], f"{node.output[0]}/planes"
    for key, numbers in (("shape", [0, *shape[2:], 1]), ("sizes", [1] * PLANES)):
        constants[f"{name}/{key}"] = numpy_helper.from_array(np.array(numbers, np.int64), f"{name}/{key}")
    planes = [f"{name}/{i}" for i in range(PLANES)]
    yield helper.make_node("Split", [source, f"{name}/sizes"], planes, f"{name}/split", axis=1)
    for plane in planes:
        yield helper.make_node("Reshape", [plane, f"{name}/shape"], [f"{plane}/last"], f"{plane}/reshape")
    yield helper.make_node("Concat", [f"{plane}/last" for plane in planes], [f"{name}/last"], f"{name}/concat", axis=3)
    yield helper.make_node("Transpose", [f"{name}/last"], [f"{name}/first"], f"{name}/transpose", perm=[0, 3, 1, 2])
    cast = onnx.NodeProto()
    cast.CopyFrom(node)
    cast.input[0] = f"{name}/first"
    yield cast
