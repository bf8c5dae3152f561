"""What a protocol offers: inference, and one generic call for the rest of Triton's API."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.utils import deserialize_bytes_tensor

from triton_yolo.clients.request import Request

Tensors = dict[str, npt.NDArray[Any]]
Json = dict[str, Any]

DTYPES: dict[str, npt.DTypeLike] = {  # of Triton's names; BYTES and BF16 have none in NumPy
    "BOOL": np.bool_,
    **{f"{kind.upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
}


@dataclass(frozen=True)
class Call:
    """One call of Triton's API beside inference, in the terms of both protocols.

    Attributes:
        rpc: name of the method of Triton's gRPC service.
        message: fields of the method's request, as protobuf writes them in JSON.
        path: path of the HTTP endpoint.
        body: JSON to post there; None for a GET.
        answer: field of the gRPC answer that is the whole answer over HTTP; empty where both are the same.
    """

    rpc: str
    message: Json
    path: str
    body: Json | None = None
    answer: str = ""


class Protocol(ABC):
    """Carries requests of any number of threads.

    Every method raises ServerUnavailable where no server answers, DetectionError with the server's words where it
    refuses, and DetectionError where the answer does not arrive in time.
    """

    @abstractmethod
    def infer(self, request: Request) -> Tensors:
        """Run one request and return all outputs of its model, with their batch dimension."""

    @abstractmethod
    def call(self, call: Call) -> Json:
        """Make one call and return the answer."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections."""


class AsyncProtocol(ABC):
    """The same for the tasks of one event loop; it connects when it is first used."""

    @abstractmethod
    async def infer(self, request: Request) -> Tensors:
        """Run one request and return all outputs of its model, with their batch dimension."""

    @abstractmethod
    async def call(self, call: Call) -> Json:
        """Make one call and return the answer."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""


def decoded(raw: bytes | memoryview, datatype: str, shape: list[int]) -> npt.NDArray[Any]:
    """Return a tensor of an answer.

    Args:
        raw: content as Triton sends it.
        datatype: Triton's name of the type, such as "FP32".
        shape: shape of the tensor.
    """
    if datatype in DTYPES:
        return np.frombuffer(raw, DTYPES[datatype]).reshape(shape)
    if datatype == "BF16":  # the upper half of a float32
        return (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    strings: npt.NDArray[Any] = deserialize_bytes_tensor(bytes(raw))
    return strings.reshape(shape)
