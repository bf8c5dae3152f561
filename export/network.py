"""A trained network as its exporter left it, at one image size: what it takes, and how it is run."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from triton_yolo.export.errors import ExportError
from triton_yolo.graphs.runner import Runner, one_line

NUMBERS: dict[int, type[np.generic]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.UINT8: np.uint8,
}
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Network:
    """What the served graph is made of.

    Attributes:
        original: as it was exported, of one image size.
        height: of the input, in pixels.
        width: of the input, in pixels.
        kind: of the input's numbers, a TensorProto type: FLOAT, FLOAT16 or UINT8.
        free_batch: the file left the batch size open.
        outputs: dimensions of each output, without the batch.
        metadata: what the exporter left in the file.
    """

    original: Runner
    height: int
    width: int
    kind: int
    free_batch: bool
    outputs: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str] = field(repr=False)

    @property
    def input(self) -> str:
        """Return the name of the image input."""
        return str(image_input(self.original.model).name)

    @property
    def kinds(self) -> dict[str, int]:
        """Return the type of each output's numbers, a TensorProto type."""
        return {value.name: value.type.tensor_type.elem_type for value in self.original.model.graph.output}

    def typed(self, images: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return the images in the input's type."""
        return images.astype(NUMBERS[self.kind])


def image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """Return the one input, which takes images.

    Raises:
        ExportError: there are others, or it does not take planar images of three channels.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs: list[onnx.ValueInfoProto] = [value for value in model.graph.input if value.name not in weights]
    seen = ", ".join(f"{value.name} {shown(value)}" for value in inputs) or "none"
    if len(inputs) != 1 or len(dims_of(inputs[0])) != 4:
        raise ExportError(f"one input [N, 3, H, W] is expected, the graph has {seen}")
    _, channels, _, last = dims_of(inputs[0])
    if channels not in (3, None) or (channels is None and last == 3):
        hint = ": export with planes (NCHW), not with channels last" if last == 3 else ""
        raise ExportError(f"one input [N, 3, H, W] is expected, the graph has {seen}{hint}")
    if inputs[0].type.tensor_type.elem_type not in NUMBERS:
        raise ExportError(f"the input must be float32, float16 or uint8, the graph has {seen}")
    return inputs[0]


def shown(value: onnx.ValueInfoProto) -> str:
    """Return the type and dimensions of a tensor, for messages."""
    tensor = value.type.tensor_type
    dims = ", ".join(str(d.dim_value or d.dim_param or "?") for d in tensor.shape.dim)
    return f"{TensorProto.DataType.Name(tensor.elem_type).lower()} [{dims}]"


def prepare(model: onnx.ModelProto, size: tuple[int, int] | None) -> Network:
    """Fix the image size, and make sure that the network runs.

    Args:
        model: checked.
        size: height and width in pixels, None to take the graph's.

    Raises:
        ExportError: the graph has another size, none, or does not run at this one.
    """
    source = image_input(model)
    dims, kind = dims_of(source), source.type.tensor_type.elem_type
    height, width = _size(model, size)
    original = Runner(resized(model, dims[0] or 1, (height, width)), dims[0] or 1)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    network = Network(original, height, width, kind, dims[0] is None, {}, metadata)
    try:
        arrays = original.run(noise(network))
    except Exception as error:  # ONNX Runtime raises many kinds
        raise ExportError(_does_not_run(error, height, width, fixed_size=None not in dims[2:])) from None
    return dataclasses.replace(network, outputs={name: tuple(array.shape[1:]) for name, array in arrays.items()})


def noise(network: Network) -> npt.NDArray[Any]:
    """Two pictures, of fine and of coarse noise, as the input takes them: in 0..1, or uint8."""
    rng = np.random.default_rng(0)
    fine = rng.integers(0, 256, (3, network.height, network.width), np.uint8)
    coarse = rng.integers(0, 256, (3, network.height // 32 + 1, network.width // 32 + 1), np.uint8)
    coarse = coarse.repeat(32, 1).repeat(32, 2)[:, : network.height, : network.width]
    images = np.stack([fine, coarse])
    return images if network.kind == TensorProto.UINT8 else network.typed(images / np.float32(255))


def _size(model: onnx.ModelProto, size: tuple[int, int] | None) -> tuple[int, int]:
    _, _, height, width = dims_of(image_input(model))
    if height and width:
        if size not in (None, (height, width)):
            raise ExportError(
                f"the graph has the fixed size {height}x{width} (height x width): leave out --size, or export again "
                "with the size that you want or with dynamic height and width"
            )
        return height, width
    if size is None:
        known = next((e.value for e in model.metadata_props if e.key == "imgsz"), None)
        hint = f"; it was exported with {known}" if known else ""
        raise ExportError(
            f"the height and width of the graph are not fixed: say with --size which one to serve, as in --size 640 or "
            f"--size 384x640 (height x width){hint}"
        )
    for wanted, fixed in zip(size, (height, width), strict=True):
        if fixed not in (None, wanted):
            raise ExportError(f"the graph takes {height or 'any'}x{width or 'any'} (height x width), not {size}")
    return size


def _does_not_run(error: Exception, height: int, width: int, fixed_size: bool) -> str:
    if not fixed_size and (height % 32 or width % 32):
        return (
            f"the network does not run at {height}x{width} (height x width), {operator_in(error)} fails: sizes are "
            "multiples of its largest stride, mostly 32"
        )
    return f"the network does not run at {height}x{width} (height x width): {one_line(error)}. Export it again"


def resized(model: onnx.ModelProto, batch: int | str, size: tuple[int, int]) -> onnx.ModelProto:
    """Return a copy whose input has these dimensions, without inferred shapes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    source = next(value for value in copy.graph.input if value.name == image_input(model).name)
    kept = [source]
    del copy.graph.input[:]  # old exporters list the weights too
    copy.graph.input.extend(kept)
    kind = source.type.tensor_type.elem_type
    copy.graph.input[0].CopyFrom(helper.make_tensor_value_info(source.name, kind, [batch, 3, *size]))
    for output in copy.graph.output:
        output.type.tensor_type.ClearField("shape")
    return copy


def dims_of(value: onnx.ValueInfoProto) -> list[int | None]:
    """Dimensions, None for those that are free."""
    return [d.dim_value if d.dim_value > 0 else None for d in value.type.tensor_type.shape.dim]


def operator_in(error: Exception) -> str:
    """Return the operator that a message of ONNX Runtime names, with its name in the graph."""
    text = str(error)
    for pattern in (
        r"running (?P<kind>\w+) node. Name:'(?P<name>[^']*)'",
        r"Node \((?P<name>.*?)\) Op \((?P<kind>\w+)\)",
    ):
        if found := re.search(pattern, text):
            return f"the operator {found['kind']} {found['name']}".rstrip()
    return "an operator"
