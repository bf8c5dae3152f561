"""How requests travel to the server: one subclass of each of these a kind, in a file of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.region import Region
from triton_yolo.clients.request import Request

MemoryKind = Literal["system", "cuda"]  # kinds of shared memory, as Triton names them
Tensors = dict[str, npt.NDArray[np.generic]]
Json = dict[str, Any]


class Transport(ABC):
    """Carries requests of any number of threads.

    Every method raises ServerUnavailable where no server answers, DetectionError with the server's words where it
    refuses, and DetectionError where the answer does not come in time.
    """

    @abstractmethod
    def infer(self, request: Request) -> Tensors:
        """Run one request and return all outputs of its model, with their batch dimension."""

    @abstractmethod
    def config(self, model: str) -> Json:
        """Return a model's configuration."""

    @abstractmethod
    def metadata(self, model: str | None = None) -> Json:
        """Return name and version of the server, or name and versions of a model."""

    @abstractmethod
    def register(self, kind: MemoryKind, name: str, fields: Json) -> None:
        """Make shared memory known to the server.

        Args:
            kind: of the memory.
            name: that requests will use.
            fields: "byte_size", and "key" in /dev/shm, or "raw_handle" in base 64 and "device_id".
        """

    @abstractmethod
    def unregister(self, kind: MemoryKind, name: str) -> None:
        """Let the server forget shared memory; a name that it does not know is fine."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""


class AsyncTransport(ABC):
    """The same for the tasks of one event loop; it connects when first used."""

    @abstractmethod
    async def infer(self, request: Request) -> Tensors:
        """Run one request and return all outputs of its model, with their batch dimension."""

    @abstractmethod
    async def config(self, model: str) -> Json:
        """Return a model's configuration."""

    @abstractmethod
    async def metadata(self, model: str | None = None) -> Json:
        """Return name and version of the server, or name and versions of a model."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections."""


def attach(tensor: Any, request: Request) -> Any:
    """Give a request's tensor to tritonclient's, and return that.

    Args:
        tensor: an InferInput of either protocol.
        request: whose tensor it is to carry or to refer to.
    """
    if isinstance(request.tensor, Region):
        tensor.set_shared_memory(request.tensor.name, request.tensor.byte_size, request.tensor.offset)
    else:
        tensor.set_data_from_numpy(request.tensor)
    return tensor
