"""Replaces operators of a graph by others that ONNX Runtime computes faster with CUDA; the numbers stay the same.

What each gives is in bench/results/gpu-rewriting.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from triton_yolo.graphs.node_builder import NodeBuilder
from triton_yolo.graphs.structure import attribute_of, part_of
from triton_yolo.graphs.tensor_info import measured_tensors

PLANES = 3
AVERAGE = 2  # pixels along each side
MOST_CHANNELS = 512  # of what becomes a dense convolution: with more, its zeros cost what they save

NEAREST = [b"nearest", b"asymmetric", b"floor"]  # a Resize that repeats pixels, as PyTorch exports it


def with_cuda_operators(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace what takes the CUDA provider longer than necessary, in its layout with the channels last.

    * The average of 2 x 2 pixels becomes a convolution: tensor cores beat the pooling kernel.
    * Pixels are repeated by an expansion, where Resize would have the picture turned to planes and back.
    * The three planes of the input are concatenated behind each other's pixels, not transposed.

    Args:
        model: of one input, whose nodes are in order.

    Returns:
        a new graph.
    """
    source = model.graph.input[0]
    read = {name for node in model.graph.node for name in _read(node)}
    build = NodeBuilder(model, measured_tensors(model, read - {source.name, ""}))
    sizes = [dim.dim_value for dim in source.type.tensor_type.shape.dim]
    for node in model.graph.node:
        if node.op_type == "AveragePool" and _averages(node) and 0 < _channels(node, build) <= MOST_CHANNELS:
            _as_convolution(node, build)
        elif node.op_type == "Resize" and (times := _times(node, build)):
            _as_expansion(node, times, build)
        elif node.op_type == "Cast" and node.input[0] == source.name and sizes[1] == PLANES:
            _with_channels_last(node, sizes, build)
        else:
            build.nodes.append(node)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:], copy.graph.node[:]
    copy.graph.node.extend(build.nodes)
    copy.graph.initializer.extend(build.constants)
    return part_of(copy, copy.graph.input, copy.graph.output)


def _read(node: onnx.NodeProto) -> Sequence[str]:
    """Return the inputs of a node that have to be known."""
    return node.input if node.op_type in ("AveragePool", "Resize") else ()


def _channels(node: onnx.NodeProto, build: NodeBuilder) -> int:
    """Return the channels of a batch of pictures, 0 where they are not known."""
    pixels = build.tensors.get(node.input[0])
    return pixels.shape[1] if pixels and len(pixels.shape) == 4 else 0


def _channel_by_channel(channels: int, kernel: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the dense weights [C, C, ...] that apply one kernel to each channel: zeros between different channels."""
    dense = np.zeros((channels, channels, *kernel.shape), kernel.dtype)
    dense[np.arange(channels), np.arange(channels)] = kernel
    return dense


def _averages(node: onnx.NodeProto) -> bool:
    """Return whether a pooling takes the mean of 2 x 2 pixels inside the picture, wherever they begin."""
    return (
        attribute_of(node, "kernel_shape", None) == [AVERAGE] * 2
        and set(attribute_of(node, "strides", [1])) == {1}
        and set(attribute_of(node, "dilations", [1])) == {1}
        and not any(attribute_of(node, "pads", []))
        and attribute_of(node, "auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
    )


def _as_convolution(node: onnx.NodeProto, build: NodeBuilder) -> None:
    """Add a convolution with a quarter of each of four pixels of the same channel: exact in every float type.

    With a bias of zeros cuDNN compiles a kernel for it; without, it has taken one for 32 channels that is five times as
    slow and wants planes.
    """
    pixels, channels, out = node.input[0], _channels(node, build), node.output[0]
    quarter = np.full((AVERAGE, AVERAGE), 1 / AVERAGE**2, build.tensor(pixels).dtype)
    weights = build.constant(f"{out}/quarters", _channel_by_channel(channels, quarter))
    bias = build.constant(f"{out}/bias", np.zeros(channels, quarter.dtype))
    build.add("Conv", [pixels, weights, bias], out)


def _times(node: onnx.NodeProto, build: NodeBuilder) -> tuple[int, int] | None:
    """Return how often a Resize repeats each pixel down and to the right; None where it enlarges otherwise."""
    how = [attribute_of(node, key, None) for key in ("mode", "coordinate_transformation_mode", "nearest_mode")]
    stored = len(node.input) > 2 and node.input[2] not in build.makers
    scales = build.tensors.get(node.input[2]) if stored else None
    times = [] if scales is None or scales.values is None else scales.values.tolist()
    if how != NEAREST or len(times) != 4 or times[:2] != [1, 1] or not all(map(float.is_integer, times)):
        return None
    return (int(times[2]), int(times[3])) if _channels(node, build) else None


def _as_expansion(node: onnx.NodeProto, times: tuple[int, int], build: NodeBuilder) -> None:
    (_, channels, height, width), (down, right), out = build.shape(node.input[0]), times, node.output[0]
    apart = build.constant(f"{out}/apart", [0, height, 1, width, 1, channels])
    often = build.constant(f"{out}/times", [1, 1, down, 1, right, 1])
    together = build.constant(f"{out}/together", [0, down * height, right * width, channels])
    pixels = build.add("Transpose", [node.input[0]], f"{out}/last", perm=[0, 2, 3, 1])
    pixels = build.add("Reshape", [pixels, apart], f"{out}/single")
    pixels = build.add("Expand", [pixels, often], f"{out}/repeated")
    pixels = build.add("Reshape", [pixels, together], f"{out}/larger")
    build.add("Transpose", [pixels], out, perm=[0, 3, 1, 2])


def _with_channels_last(node: onnx.NodeProto, shape: Sequence[int], build: NodeBuilder) -> None:
    """Put channels last: ONNX Runtime transposes before the first convolution, and the two transpositions cancel."""
    name = f"{node.output[0]}/planes"
    planes = [f"{name}/{i}" for i in range(PLANES)]
    sizes, target = build.constant(f"{name}/sizes", [1] * PLANES), build.constant(f"{name}/shape", [0, *shape[2:], 1])
    build.nodes.append(helper.make_node("Split", [node.input[0], sizes], planes, f"{name}/split", axis=1))
    last = [build.add("Reshape", [plane, target], f"{plane}/last") for plane in planes]
    pixels = build.add("Concat", last, f"{name}/last", axis=3)
    cast = onnx.NodeProto()
    cast.CopyFrom(node)
    cast.input[0] = build.add("Transpose", [pixels], f"{name}/first", perm=[0, 3, 1, 2])
    build.nodes.append(cast)
