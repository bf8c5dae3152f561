"""Seeded mutations of requests as they travel: JSON, and protobufs of Triton's gRPC service."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from tests.server.damage import damaged

Rng = np.random.Generator
TYPES = ("UINT8", "INT8", "BOOL", "FP16", "FP32", "FP64", "INT32", "INT64", "UINT64", "BF16", "BYTES", "", "NONE")
NAMES = ("", "x" * 300, "images", "frames", "image", "\u00e9\u4e2d", "../yolo", "nms", "a\0b", "%s%n")
NUMBERS = (0, 1, 2, 3, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1)
SIGNED = (*NUMBERS, -1, -2, -(2**31), -(2**63))
ODD: tuple[Any, ...] = (
    *(None, True, False, "", "x", "\0", -1, 0, 1.5, -0.0, 1e308, 2**31),
    *([], {}, [[]], [None], {"": {}}),
)
PARAMETERS = (
    *("priority", "timeout", "sequence_id", "sequence_start", "sequence_end", "score_threshold", "iou_threshold"),
    *("binary_data_output", "triton_enable_empty_final_response", "frame_checksum", "forget"),
    *("headers", "classification"),
)
# Elements of a tensor: for larger shapes, Triton 24.10 takes memory before it looks whether there is a tensor.
MOST = 1 << 24


def ends_the_server(shape: Sequence[Any]) -> bool:
    """Whether a shape is of the kind that Triton 24.10 does not survive (test_known_holes.py)."""
    sizes = [size for size in shape if isinstance(size, int | float)]
    return any(size < 0 for size in sizes) or math.prod(max(1, size) for size in sizes) > MOST


def pick(rng: Rng, values: Any) -> Any:
    """One of them."""
    return values[int(rng.integers(len(values)))]


def mutated_json(request: dict[str, Any], rng: Rng) -> bytes:
    """A request over HTTP as JSON, of which one or two values are another one, or the text is damaged."""
    request = copy.deepcopy(request)
    for _ in range(rng.integers(1, 3)):
        places = list(_places(request))
        if not places:
            break
        holder, key = pick(rng, places)
        kind = rng.integers(6)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[pick(rng, (*NAMES, *PARAMETERS))] = holder[key]
        elif kind == 2 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif kind == 3:
            holder[key] = pick(rng, (*NUMBERS[:5], *TYPES, *NAMES))
        else:
            holder[key] = copy.deepcopy(pick(rng, ODD))
    sound = json.dumps(request, ensure_ascii=bool(rng.integers(2))).encode()
    text = damaged(sound, int(rng.integers(1 << 31))) if rng.random() < 0.3 else sound
    return text if not any(map(ends_the_server, _shapes(text))) else b"{}"


def _shapes(text: bytes) -> list[Sequence[Any]]:
    """Every list in a text that begins as JSON; none where it is none."""
    found: list[Sequence[Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:  # all of a name that is there twice
        found.extend(value for _, value in pairs if isinstance(value, list))

    try:
        json.JSONDecoder(object_pairs_hook=keep).raw_decode(text.decode("latin-1"))
    except ValueError:
        return []
    return [[size for size in one if not isinstance(size, bool)] for one in found if len(one) < 100]


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Each value's holder and its key there."""
    for key, value in list(node.items()) if isinstance(node, dict) else list(enumerate(node)):
        yield node, key
        if isinstance(value, dict | list) and len(value) < 1000:
            yield from _places(value)


def mutated_message(request: service_pb2.ModelInferRequest, rng: Rng) -> bytes:
    """A request over gRPC of which one or two fields are another one, or the bytes on the wire are damaged."""
    message = service_pb2.ModelInferRequest()
    message.CopyFrom(request)
    for _ in range(rng.integers(1, 3)):
        _change(message, rng)
    wire = message.SerializeToString()
    wire = damaged(wire, int(rng.integers(1 << 31))) if rng.random() < 0.2 else wire
    return wire if not any(map(ends_the_server, shapes_of(wire))) else b""


def shapes_of(wire: bytes) -> list[Sequence[int]]:
    """The shapes of the inputs of a request; none where it is none."""
    try:
        return [tensor.shape for tensor in service_pb2.ModelInferRequest.FromString(wire).inputs]
    except DecodeError:
        return []


def _change(message: service_pb2.ModelInferRequest, rng: Rng) -> None:
    tensor = pick(rng, message.inputs) if message.inputs else message.inputs.add()
    kind = rng.integers(14)
    if kind == 0:
        tensor.name = pick(rng, (*NAMES[:4], "frames", "image", "positions")).replace("\0", "")
    elif kind == 1:
        tensor.datatype = pick(rng, TYPES)
    elif kind in (2, 3) and tensor.shape:
        tensor.shape[rng.integers(len(tensor.shape))] = pick(rng, SIGNED)
    elif kind == 4:
        tensor.shape.append(pick(rng, SIGNED))
    elif kind == 5:
        del tensor.shape[int(rng.integers(len(tensor.shape) + 1)) :]
    elif kind == 6 and message.raw_input_contents:
        at = int(rng.integers(len(message.raw_input_contents)))
        message.raw_input_contents[at] = message.raw_input_contents[at][: rng.integers(2000)]
    elif kind == 7:
        message.raw_input_contents.append(rng.bytes(int(rng.integers(100))))
    elif kind == 8:
        del message.raw_input_contents[int(rng.integers(len(message.raw_input_contents) + 1)) :]
    elif kind == 9:
        for name, values in (("uint_contents", [1, 2, 3]), ("fp32_contents", [0.5]), ("bytes_contents", [b"x", b""])):
            if rng.random() < 0.5:
                getattr(tensor.contents, name).extend(values)
    elif kind == 10:
        message.inputs.add().CopyFrom(tensor)
    elif kind == 11:
        set_parameter(message.parameters[pick(rng, PARAMETERS)], rng)
    elif kind == 12:
        output = message.outputs.add(name=pick(rng, ("boxes", "scores", "num_detections", *NAMES[:4])))
        set_parameter(output.parameters[pick(rng, PARAMETERS)], rng)
    else:
        message.model_version = pick(rng, ("", "1", "-1", "99", "x", "9" * 40))


def set_parameter(parameter: service_pb2.InferParameter, rng: Rng) -> None:
    """A value of any type, or none at all."""
    kind = rng.integers(6)
    if kind == 0:
        parameter.bool_param = bool(rng.integers(2))
    elif kind == 1:
        parameter.int64_param = pick(rng, SIGNED)
    elif kind == 2:
        parameter.string_param = pick(rng, ("", "x", "1", "\u00e9", "y" * 1000))
    elif kind == 3:
        parameter.double_param = pick(rng, (0.4, -1.0, 1e308, float("nan"), float("inf")))
    elif kind == 4:
        parameter.uint64_param = pick(rng, NUMBERS)
