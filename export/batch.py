"""The network with a free batch size, in a newer operator set where its own is old."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper, version_converter

from triton_yolo.export.errors import ExportError
from triton_yolo.export.network import Network, image_input, noise, operator_in, resized
from triton_yolo.graphs.runner import Runner, measured_shapes, one_line
from triton_yolo.graphs.structure import opset_of, part_of

OPSET = 19  # the first whose quantisation takes FP16 scales
BATCH_DIM = "N"

FREE_BATCH = (
    "export again with a free batch size: Ultralytics and YOLOv5 `dynamic=True`, YOLOX `--dynamic`, "
    "torch.onnx.export with dynamic_axes={'images': {0: 'batch'}}"
)


def with_free_batch(network: Network, outputs: Sequence[str]) -> onnx.ModelProto:
    """Free the batch size, raise an operator set older than OPSET, and make sure that nothing else changes.

    Args:
        network: of one image size.
        outputs: names of the outputs to keep.

    Returns:
        the same network from [N, 3, H, W] to these outputs [N, ...].

    Raises:
        ExportError: an operator ties the network to its batch size, or the operator set cannot be raised.
    """
    original = network.original.model
    wanted = [value for value in original.graph.output if value.name in outputs]
    fixed = part_of(original, original.graph.input, wanted)
    model = _at_opset(fixed)
    images = noise(network)
    apart = Runner(fixed, network.original.batch).run(images)
    if model is not fixed:
        raised = Runner(model, network.original.batch).run(images)
        if any(not _alike(raised[name], array) for name, array in apart.items()):
            raise ExportError(
                f"the network's answers change when its operator set {opset_of(fixed)} is raised to "
                f"{OPSET}: export again with opset={OPSET}"
            )
    freed = resized(model, BATCH_DIM, (network.height, network.width))
    if not network.free_batch:
        _free_reshapes(freed, model, network)
    try:
        together = Runner(freed).run(images)
    except Exception as error:  # ONNX Runtime raises many kinds
        raise ExportError(
            f"{operator_in(error)} ties the network to its batch size of {network.original.batch}: {FREE_BATCH} "
            f"({one_line(error)})"
        ) from None
    for name, array in together.items():
        if array.shape != apart[name].shape or not _alike(array, apart[name]):
            raise ExportError(
                f"the network mixes the images of a batch: of two images its output {name} {list(array.shape)} is not "
                f"what it is of each alone, {list(apart[name].shape)}; {FREE_BATCH}"
            )
    for output in freed.graph.output:
        kind = output.type.tensor_type.elem_type
        output.CopyFrom(helper.make_tensor_value_info(output.name, kind, [BATCH_DIM, *network.outputs[output.name]]))
    return freed


def _at_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    if opset_of(model) >= OPSET:
        return model
    try:
        newer = version_converter.convert_version(model, OPSET)
    except Exception as error:  # it raises plain RuntimeErrors of many texts
        raise ExportError(
            f"the graph's operator set {opset_of(model)} cannot be raised to {OPSET}: {one_line(error)}. "
            f"Export again with opset={OPSET}"
        ) from None
    del newer.graph.value_info[:]
    return newer


def _free_reshapes(freed: onnx.ModelProto, fixed: onnx.ModelProto, network: Network) -> None:
    """Let the first dimension of every Reshape follow the batch: the operator that exporters write a batch size into.

    The others are fixed with the image size. Attention over areas of the image, as in YOLO12, has the batch times the
    areas in the first dimension, which follows just as well.
    """
    moving, reshapes = {image_input(freed).name}, []  # what depends on the images
    for node in freed.graph.node:
        if moving.intersection(node.input):
            moving.update(node.output)
            if node.op_type == "Reshape":
                reshapes.append(node)
    images = noise(network)[:1].repeat(network.original.batch or 1, 0)
    shapes = measured_shapes(fixed, [node.output[0] for node in reshapes], images)
    for node in reshapes:
        shape = shapes[node.output[0]]
        if 0 in shape:
            continue
        name = f"{node.output[0]}/any_batch"
        freed.graph.initializer.append(numpy_helper.from_array(np.array([-1, *shape[1:]], np.int64), name))
        node.input[1] = name


def _alike(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    """Return whether two runs gave the same numbers; in any order, since networks that sort may turn ties around."""
    a, b = (np.sort(array.reshape(len(array), -1).astype(np.float64), axis=1) for array in (a, b))
    return bool(np.allclose(a, b, rtol=1e-2, atol=1e-2, equal_nan=True))
