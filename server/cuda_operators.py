"""Says the same as a graph with operators that ONNX Runtime computes faster with CUDA; numbers stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.graphs import part_of
from server.tensors import Tensor, measured

PLANES = 3
AVERAGE = 2  # pixels along each side
MOST_CHANNELS = 512  # of what becomes a dense convolution: with more, its zeros cost what they save
MOST_GROUPS = 8  # of a convolution that becomes a dense one; depthwise ones have a group for each channel, and a kernel

NEAREST = [b"nearest", b"asymmetric", b"floor"]  # a Resize that repeats pixels, as PyTorch exports it


def with_cuda_operators(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace what takes the CUDA provider longer than it must, in its layout with the channels last.

    * The average of 2 x 2 pixels becomes a convolution: tensor cores beat the pooling kernel.
    * A convolution of a few groups becomes one, with zeros between them: cuDNN would cut the picture up, run each group
      by itself, and put the pieces together again.
    * Pixels are repeated by an expansion, where Resize would have the picture turned to planes and back.
    * The three planes of the input are concatenated behind each other's pixels, not transposed.

    Args:
        model: of one input, whose nodes are in order.

    Returns:
        a new graph.
    """
    source = model.graph.input[0]
    read = {node.input[0] for node in model.graph.node if node.op_type in ("AveragePool", "Resize")}
    values = measured(model, read - {source.name})
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    sizes = [dim.dim_value for dim in source.type.tensor_type.shape.dim]
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        pixels = values.get(node.input[0] if node.input else "")
        if node.op_type == "Conv":
            nodes.append(_one_group(node, constants))
        elif node.op_type == "AveragePool" and pixels and _averages(node) and pixels.shape[1] <= MOST_CHANNELS:
            nodes.append(_as_convolution(node, pixels, constants))
        elif node.op_type == "Resize" and pixels and len(pixels.shape) == 4:
            nodes += _repeated(node, pixels.shape, constants)
        elif node.op_type == "Cast" and node.input[0] == source.name and sizes[1] == PLANES:
            nodes += _channels_last(node, sizes, constants)
        else:
            nodes.append(node)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for listed, wanted in ((copy.graph.node, nodes), (copy.graph.initializer, constants.values())):
        del listed[:]
        listed.extend(wanted)
    del copy.graph.value_info[:]
    return part_of(copy, copy.graph.input, copy.graph.output)


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


def _as_convolution(node: onnx.NodeProto, pixels: Tensor, constants: dict[str, TensorProto]) -> onnx.NodeProto:
    """A quarter of each of four pixels of the same channel, nothing of the others: exact in every float type.

    With a bias of zeros cuDNN compiles a kernel for it; without, it has taken one for 32 channels that is five times as
    slow and wants planes.
    """
    name, channels = f"{node.output[0]}/quarters", pixels.shape[1]
    weights = np.full((channels, 1, AVERAGE, AVERAGE), 1 / AVERAGE**2, pixels.dtype)
    for key, values in ((name, _dense(weights, channels)), (f"{name}/bias", np.zeros(channels, weights.dtype))):
        constants[key] = numpy_helper.from_array(values, key)
    return helper.make_node("Conv", [node.input[0], name, f"{name}/bias"], node.output, node.name)


def _repeated(
    node: onnx.NodeProto, shape: Sequence[int], constants: dict[str, TensorProto]
) -> Iterator[onnx.NodeProto]:
    """Each pixel so many times; the node itself where it enlarges otherwise."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    how = [found.get(key) for key in ("mode", "coordinate_transformation_mode", "nearest_mode")]
    scales = constants.get(node.input[2]) if len(node.input) > 2 else None
    times = [] if scales is None else numpy_helper.to_array(scales).tolist()
    if how != NEAREST or len(times) != 4 or times[:2] != [1, 1] or not all(map(float.is_integer, times)):
        yield node
        return
    _, channels, height, width = shape
    _, _, down, right = map(int, times)
    name = node.output[0]
    for key, numbers in (
        ("apart", [0, height, 1, width, 1, channels]),
        ("times", [1, 1, down, 1, right, 1]),
        ("together", [0, down * height, right * width, channels]),
    ):
        constants[f"{name}/{key}"] = numpy_helper.from_array(np.array(numbers, np.int64), f"{name}/{key}")
    steps: tuple[tuple[str, list[str], dict[str, Any]], ...] = (
        ("Transpose", [], {"perm": [0, 2, 3, 1]}),
        ("Reshape", [f"{name}/apart"], {}),
        ("Expand", [f"{name}/times"], {}),
        ("Reshape", [f"{name}/together"], {}),
        ("Transpose", [], {"perm": [0, 3, 1, 2]}),
    )
    names = [node.input[0], *(f"{name}/step{i}" for i in range(1, len(steps))), name]
    for (operator, more, attributes), before, after in zip(steps, names[:-1], names[1:], strict=True):
        yield helper.make_node(operator, [before, *more], [after], f"{after}/repeated", **attributes)


def _channels_last(
    node: onnx.NodeProto, shape: Sequence[int], constants: dict[str, TensorProto]
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
