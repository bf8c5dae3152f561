"""From a float graph and ranges to a graph that TensorRT and OpenVINO run in INT8; ONNX Runtime does the quantising."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from triton_yolo.graphs.structure import in_order, makers_of, read_by


def quantised(
    model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], names: Collection[str]
) -> onnx.ModelProto:
    """Put Q/DQ pairs around convolutions, by TensorRT's rules for explicit quantisation.

    What a convolution reads is quantised for the whole tensor, once for all that read it; its weights for each
    output channel; both around zero. Its output and bias stay float, and so does everything else, but for residual
    additions, which read the quantised identity.

    Args:
        model: of read_float_graph.
        ranges: lowest and highest value of what the convolutions read.
        names: of the convolutions to quantise.

    Returns:
        a new graph.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if not names:
        return copy
    _own_weights(copy, names)
    data = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    quantizer = QDQQuantizer(
        copy,
        True,  # for each channel
        False,  # 8 bits, not 7
        QuantType.QInt8,
        QuantType.QInt8,
        TensorsData(CalibrationMethod.MinMax, data),
        sorted(names),
        [],
        ["Conv"],
        {
            "ActivationSymmetric": True,  # TensorRT has no zero points
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "DedicatedQDQPair": False,
            "OpTypesToExcludeOutputQuantization": sorted({node.op_type for node in model.graph.node}),
            "QDQDisableWeightAdjustForInt32Bias": True,
        },
    )
    quantizer.quantize_model()
    result = in_order(quantizer.model.model)
    _keep_float(result, set(names))
    return result


def _own_weights(model: onnx.ModelProto, names: Collection[str]) -> None:
    """Copy the weights of convolutions that are quantised where others read them too; the quantiser takes them away."""
    others = {tensor for node in model.graph.node if node.name not in names for tensor in read_by(node)}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.name in names and node.input[1] in others:
            model.graph.initializer.add().CopyFrom(tensors[node.input[1]])
            node.input[1] = model.graph.initializer[-1].name = f"{node.name}/weights"


def _keep_float(model: onnx.ModelProto, names: Collection[str]) -> None:
    """Give back the float tensor to whatever is neither a quantised convolution nor a residual addition.

    The quantiser lets all readers of a tensor read what its Q/DQ pair leaves: concatenations, whose readers quantise
    again, and convolutions that are to stay float. Only a residual addition gains by it: its identity need not be kept
    in float beside the quantised one.
    """
    makers = makers_of(model)
    floats = {
        node.output[0]: makers[node.input[0]].input[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in makers
    }
    for node in model.graph.node:
        kept = identity_of(node, makers) if node.op_type == "Add" else None
        if node.name not in names:
            node.input[:] = [name if name == kept else floats.get(name, name) for name in node.input]


def identity_of(addition: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> str | None:
    """Return the input of an addition from which the other one is made, None if it is no residual addition."""
    one, other = map(str, addition.input)
    if _stands_before(one, other, makers):
        return one
    return other if _stands_before(other, one, makers) else None


def _stands_before(tensor: str, later: str, makers: Mapping[str, onnx.NodeProto]) -> bool:
    seen, tensors = set(), [later]
    while tensors:
        name = tensors.pop()
        if name == tensor:
            return True
        if name not in seen and name in makers:
            seen.add(name)
            tensors += makers[name].input
    return False


def quantised_in(model: onnx.ModelProto) -> set[str]:
    """Return the convolutions of a graph whose input and weights are both dequantised."""
    made = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    return {n.name for n in model.graph.node if n.op_type == "Conv" and made.issuperset(n.input[:2])}


def readers(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Return the convolutions that read each tensor, by tensor."""
    found = defaultdict(list)
    for node in model.graph.node:
        if node.op_type == "Conv":
            found[node.input[0]].append(node.name)
    return dict(found)
