"""What a builder says of the layers of a plan while it builds; the engine inspector needs a GPU for that."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

HEADING = "Layers:\n"  # how TensorRT for RTX starts its one message about them, at detailed profiling verbosity

_LAYER = re.compile(
    r"Name: (?P<Name>.*?), LayerType: (?P<LayerType>\w+), Inputs: \[(?P<Inputs>.*?)\], "
    r"Constants: \[(?P<Constants>.*?)\], Outputs: \[(?P<Outputs>.*?)\], TacticName: (?P<TacticName>.*?), "
    r"StreamId: .*?, Metadata: (?P<Metadata>.*)"
)
_TENSOR = re.compile(r"\{ Name: (?P<Name>.*?), Dimensions: .*?, Datatype: (?P<Datatype>\w+)")
_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_CONVOLVING = ("correlation", "runtime_fusion")  # others name a convolution for its bias alone


def logged_layers(message: str) -> list[dict[str, Any]]:
    """Read the message.

    Args:
        message: starts with HEADING.

    Returns:
        for each layer its Name, LayerType, TacticName and Metadata, and as Inputs, Constants and Outputs the Name and
        Datatype of its tensors.
    """
    layers: list[dict[str, Any]] = [found.groupdict() for found in map(_LAYER.fullmatch, message.splitlines()) if found]
    for layer in layers:
        for part in ("Inputs", "Constants", "Outputs"):
            layer[part] = [found.groupdict() for found in _TENSOR.finditer(layer[part])]
    return layers


def convolution_types(layers: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, set[str]]:
    """Return the types of what convolutions multiply.

    Args:
        layers: of logged_layers.
        names: of the convolutions in the ONNX graph.

    Returns:
        the types of the input and the weights of each, as in {"Int8"}.
    """
    return {
        name: {tensor["Datatype"] for tensor in (*layer["Inputs"], *layer["Constants"])[:2]}
        for layer in layers
        if layer["LayerType"] in _CONVOLVING
        for name in _ORIGIN.findall(layer["Metadata"])
        if name in names
    }
