"""Shapes, types and values of the tensors of a served graph, measured in runs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from triton_yolo.graphs.runner import Runner
from triton_yolo.graphs.structure import part_of

BATCH_SIZE = 0  # a size that is as large as the batch


@dataclass(frozen=True)
class TensorInfo:
    """What is known about a tensor.

    Attributes:
        shape: with BATCH_SIZE for dimensions that are as large as the batch.
        dtype: of its numbers.
        values: if they depend neither on pixels nor on the batch, else None.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    values: npt.NDArray[np.generic] | None = None


def measured_tensors(model: onnx.ModelProto, names: Collection[str]) -> dict[str, TensorInfo]:
    """Run a graph on one and on two black pictures, or their features, and compare its tensors.

    ONNX's shape inference cannot follow shapes that the graph computes.

    Args:
        model: a served graph, or a half of one.
        names: of its tensors, without its input.
    """
    source, constants = model.graph.input[0].name, {tensor.name: tensor for tensor in model.graph.initializer}
    stored = {name: numpy_helper.to_array(constants[name]) for name in names if name in constants}
    made = [name for name in names if name not in stored and name != source]
    tensors = {name: TensorInfo(values.shape, values.dtype, values) for name, values in stored.items()}
    if not made:
        return tensors
    kind = model.graph.input[0].type.tensor_type
    image = [dim.dim_value for dim in kind.shape.dim[1:]]
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
    runner = Runner(part_of(model, model.graph.input, [onnx.ValueInfoProto(name=name) for name in made]))
    ones, twos = (runner.run(np.zeros((count, *image), dtype)) for count in (1, 2))
    of_pixels = _of_pixels(model)
    for name in made:
        one, two = ones[name], twos[name]
        if one.ndim == two.ndim:
            shape = tuple(a if a == b else BATCH_SIZE for a, b in zip(one.shape, two.shape, strict=True))
            fixed = name not in of_pixels and np.array_equal(one, two)
            tensors[name] = TensorInfo(shape, one.dtype, one if fixed else None)
    return tensors


def _of_pixels(model: onnx.ModelProto) -> set[str]:
    """Return the tensors whose values depend on the input's values, not only on its shape."""
    found = {model.graph.input[0].name}
    for node in model.graph.node:
        if node.op_type != "Shape" and found.intersection(node.input):
            found.update(node.output)
    return found
