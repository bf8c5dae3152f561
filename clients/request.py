"""One inference request, before any protocol has it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.errors import DetectionError
from triton_yolo.contract import STREAM_HEADER, URGENT

ENCODED = "detect"  # ensemble for the bytes of a JPEG or PNG
FRAMES = "detect_frames"  # ensemble for raw pixels; those of other formats are in pixel_formats.py

Pixels = npt.NDArray[np.uint8]

# Of requests that are sent in this context: a W3C traceparent, under which the server's own spans come; empty for none.
TRACE_PARENT: ContextVar[str] = ContextVar("trace_parent", default="")


@dataclass(frozen=True)
class SharedTensor:
    """Where a tensor lies in shared memory that is registered with the server.

    Attributes:
        region: name under which the memory is registered.
        byte_size: size of the tensor in bytes.
        offset: offset of the tensor in the memory, in bytes.
        shape: shape of the tensor, with the batch dimension first.
    """

    region: str
    byte_size: int
    offset: int
    shape: tuple[int, ...]

    def parameters(self) -> dict[str, str | int]:
        """Return the parameters of a request's input that refer to this tensor."""
        return {
            "shared_memory_region": self.region,
            "shared_memory_byte_size": self.byte_size,
            "shared_memory_offset": self.offset,
        }


@dataclass(frozen=True)
class Request:
    """One inference request.

    Attributes:
        model: name of the ensemble.
        input: name of its input with the image or the frames.
        tensor: uint8, with the batch dimension first, or where such a tensor lies in shared memory.
        parameters: parameters of the request.
        source: name of the file that the tensor comes from, for error messages; empty where there is none.
        others: the model's other inputs by name, small, with the batch dimension first; they go with the request.
        stream: name of the stream that it is part of, which a proxy keeps at one server; empty where there is none.
    """

    model: str
    input: str
    tensor: Pixels | SharedTensor
    parameters: Mapping[str, float | int] = field(default_factory=dict)
    source: str = ""
    others: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    stream: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """Headers for proxies between client and server and for the server's traces, in ASCII."""
        headers = {STREAM_HEADER: quote(self.stream)} if self.stream else {}
        if parent := TRACE_PARENT.get():
            headers["traceparent"] = parent
        return headers


def request_parameters(
    score_threshold: float | None, iou_threshold: float | None, priority: int | None, queue_timeout: float | None
) -> dict[str, float | int]:
    """Return the parameters of a request; what is None is left to the server.

    Args:
        score_threshold: lowest score to report, 0..1.
        iou_threshold: highest overlap of two boxes of a class, 0..1.
        priority: 1 or more; lower numbers go first, and 1 is urgent.
        queue_timeout: longest time in a queue of the server, in seconds.

    Raises:
        DetectionError: one of them is out of range; thresholds in the server's words, before an image is sent.
    """
    given: dict[str, float | int] = {}
    for name, threshold in (("score_threshold", score_threshold), ("iou_threshold", iou_threshold)):
        if threshold is not None:
            given[name] = float(threshold)
            if not 0 <= given[name] <= 1:
                raise DetectionError(f"{name} must be a number from 0 to 1, got {given[name]}")
    if priority is not None:
        if not (priority >= 1 and priority == int(priority)):
            raise DetectionError(f"priority must be a whole number of 1 or more (1 goes first), got {priority}")
        given["priority"] = int(priority)
        if priority == 1:
            given[URGENT] = True
    if queue_timeout is not None:
        if not 0 < queue_timeout < math.inf:
            raise DetectionError(f"queue_timeout must be a number of seconds above 0, got {queue_timeout}")
        given["timeout"] = max(1, round(queue_timeout * 1_000_000))  # Triton counts microseconds, and 0 is no limit
    return given
