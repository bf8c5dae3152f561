"""One convolution in INT8 and all else in float: the parts of a graph that its change reaches, to compute only those.

What stands before the convolution or beside it stays as it is in the float graph, so it is computed once for all
methods and for several convolutions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from triton_yolo.calibration.layers import Convolution
from triton_yolo.calibration.quantise import identity_of, quantised
from triton_yolo.calibration.runtimes import Array, Candidates, Part, Runtime
from triton_yolo.contract import INPUT, OUTPUT
from triton_yolo.graphs.structure import makers_of, part_of, read_by

Values = Mapping[str, Array]  # what tensors hold for one picture
DEQUANTISED = "/dequantised"  # behind the name of a tensor, as the residual additions read it


@dataclass(frozen=True)
class Alone:
    """A convolution, and what its quantisation changes.

    Attributes:
        layer: the convolution.
        made: its output.
        additions: residual additions that read its quantised input, by name.
        reads: tensors beside its output that the changed nodes read, and its input.
    """

    layer: Convolution
    made: str
    additions: frozenset[str]
    reads: frozenset[str]


def alone(model: onnx.ModelProto, layer: Convolution) -> Alone:
    """Find what the quantisation of one convolution changes.

    Args:
        model: the float graph, whose nodes are in order.
        layer: of it.
    """
    makers = makers_of(model)
    [convolution] = (node for node in model.graph.node if node.name == layer.name)
    adders = (node for node in model.graph.node if node.op_type == "Add" and layer.input in node.input)
    additions = frozenset(node.name for node in adders if identity_of(node, makers) == layer.input)
    changed, read = set(convolution.output), {layer.input}
    for node in model.graph.node:
        if node.name in additions or not changed.isdisjoint(read_by(node)):
            changed.update(node.output)
            read.update(read_by(node))
    constant = {tensor.name for tensor in model.graph.initializer}
    constant |= {name for node in model.graph.node if not any(read_by(node)) for name in node.output}
    return Alone(layer, convolution.output[0], additions, frozenset(read - changed - constant - {""}))


def computed(model: onnx.ModelProto, names: Iterable[str], runtime: Runtime, size: tuple[int, int]) -> Part:
    """Compile the float graph so that it also returns what tensors hold.

    Args:
        model: the float graph.
        names: of the tensors.
        runtime: to compile for.
        size: height and width of the input.

    Returns:
        takes pixels uint8 [1, 3, H, W]; returns the candidates, and then the tensors.
    """
    source = helper.make_tensor_value_info(INPUT, onnx.TensorProto.UINT8, [1, 3, *size])
    return runtime.part(part_of(model, [source], [onnx.ValueInfoProto(name=name) for name in (OUTPUT, *names)]))


class Changed:
    """The changed part of a graph, compiled for several ranges."""

    def __init__(
        self,
        model: onnx.ModelProto,
        what: Alone,
        spans: Sequence[tuple[float, float]],
        runtime: Runtime,
        example: Values,
    ) -> None:
        """Compile it.

        Args:
            model: the float graph.
            what: the convolution.
            spans: ranges of its input.
            runtime: to compile for.
            example: what its tensors hold for some picture.
        """
        source, made = what.layer.input, what.made
        small = part_of(model, [_like(source, example[source])], [onnx.ValueInfoProto(name=made)])
        self.source = source
        self.quantised = [runtime.part(_quantised(small, what, span)) for span in spans]
        whole = onnx.ModelProto()
        whole.CopyFrom(model)
        for node in whole.graph.node:
            if node.name in what.additions:
                node.input[:] = [source + DEQUANTISED if name == source else name for name in node.input]
        first = self.quantised[0](example[source])
        given = dict(zip((made, source + DEQUANTISED), first, strict=False))
        given |= {name: example[name] for name in sorted(what.reads)}
        rest = part_of(whole, [_like(name, value) for name, value in given.items()], model.graph.output[:1])
        read = {name for node in rest.graph.node for name in read_by(node)}
        self.reads = [name for name in given if name in read]
        rest = part_of(rest, [value for value in rest.graph.input if value.name in read], model.graph.output[:1])
        self.made = list(given)[: len(first)]
        self.rest = runtime.part(rest)

    def candidates(self, values: Values) -> list[Candidates]:
        """Return what the graph finds in a picture, for each of the ranges.

        Args:
            values: what the tensors hold in the float graph.
        """
        found = []
        for convolution in self.quantised:
            now = {**values, **dict(zip(self.made, convolution(values[self.source]), strict=True))}
            found.append(np.asarray(self.rest(*(now[name] for name in self.reads))[0][0]))
        return found


def _quantised(small: onnx.ModelProto, what: Alone, span: tuple[float, float]) -> onnx.ModelProto:
    """Quantise a part that is one convolution; where additions need it, it also returns the dequantised input."""
    model = quantised(small, {what.layer.input: span}, [what.layer.name])
    if what.additions:
        [convolution] = (node for node in model.graph.node if node.name == what.layer.name)
        model.graph.output.append(onnx.ValueInfoProto(name=convolution.input[0]))
    return model


def _like(name: str, value: npt.NDArray[np.generic]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
