"""How requests travel to the server: one subclass of each of these a kind, in a file of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from clients.request import Request

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
