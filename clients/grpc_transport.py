"""Requests as gRPC messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio
from tritonclient.grpc import InferInput, InferResult
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from triton_yolo.clients.errors import refused, too_late, unavailable
from triton_yolo.clients.request import Request
from triton_yolo.clients.transport import AsyncTransport, Json, MemoryKind, Tensors, Transport, attach

CHANNEL = [
    ("grpc.max_send_message_length", -1),  # a frame of 6000x4000 has 72 MB
    ("grpc.max_receive_message_length", -1),
    # Notices a connection that died without a word; Triton hangs up on clients that ping more often than every 300 s.
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # gRPC doubles its wait between attempts up to two minutes; a server that comes back is found sooner.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


class GrpcTransport(Transport):
    """One channel, shared by all threads."""

    def __init__(self, address: str, timeout: float) -> None:
        """Open a channel, which connects when it is used.

        Args:
            address: HOST:PORT.
            timeout: of each request, in seconds.
        """
        self.address, self.timeout = address, timeout
        self.client = tritonclient.grpc.InferenceServerClient(address, channel_args=CHANNEL)

    def infer(self, request: Request) -> Tensors:
        """See Transport."""
        with _errors(self.address, self.timeout):
            return _tensors(self.client.infer(**_arguments(request), client_timeout=self.timeout))

    def config(self, model: str) -> Json:
        """See Transport."""
        with _errors(self.address, self.timeout):
            answer = self.client.get_model_config(model, as_json=True, client_timeout=self.timeout)
            return answer["config"]

    def metadata(self, model: str | None = None) -> Json:
        """See Transport."""
        with _errors(self.address, self.timeout):
            if model is None:
                return self.client.get_server_metadata(as_json=True, client_timeout=self.timeout)
            return self.client.get_model_metadata(model, as_json=True, client_timeout=self.timeout)

    def register(self, kind: MemoryKind, name: str, fields: Json) -> None:
        """See Transport."""
        register = {
            "system": self.client.register_system_shared_memory,
            "cuda": self.client.register_cuda_shared_memory,
        }
        with _errors(self.address, self.timeout):
            register[kind](name, **fields, client_timeout=self.timeout)

    def unregister(self, kind: MemoryKind, name: str) -> None:
        """See Transport."""
        unregister = {
            "system": self.client.unregister_system_shared_memory,
            "cuda": self.client.unregister_cuda_shared_memory,
        }
        with _errors(self.address, self.timeout):
            unregister[kind](name, client_timeout=self.timeout)

    def close(self) -> None:
        """See Transport."""
        self.client.close()


class AsyncGrpcTransport(AsyncTransport):
    """One channel, which belongs to the event loop that uses it first."""

    def __init__(self, address: str, timeout: float) -> None:
        """Prepare; arguments are those of GrpcTransport."""
        self.address, self.timeout = address, timeout
        self.opened: tritonclient.grpc.aio.InferenceServerClient | None = None

    @property
    def client(self) -> Any:
        """The channel, opened inside the event loop, as gRPC demands."""
        if self.opened is None:
            self.opened = tritonclient.grpc.aio.InferenceServerClient(self.address, channel_args=CHANNEL)
        return self.opened

    async def infer(self, request: Request) -> Tensors:
        """See Transport."""
        with _errors(self.address, self.timeout):
            return _tensors(await self.client.infer(**_arguments(request), client_timeout=self.timeout))

    async def config(self, model: str) -> Json:
        """See Transport."""
        with _errors(self.address, self.timeout):
            answer = await self.client.get_model_config(model, as_json=True, client_timeout=self.timeout)
            return answer["config"]

    async def metadata(self, model: str | None = None) -> Json:
        """See Transport."""
        with _errors(self.address, self.timeout):
            if model is None:
                return await self.client.get_server_metadata(as_json=True, client_timeout=self.timeout)
            return await self.client.get_model_metadata(model, as_json=True, client_timeout=self.timeout)

    async def close(self) -> None:
        """See Transport."""
        if self.opened is not None:
            await self.opened.close()


def _arguments(request: Request) -> dict[str, Any]:
    tensor = attach(InferInput(request.input, list(request.tensor.shape), "UINT8"), request)
    return {"model_name": request.model, "inputs": [tensor], "parameters": dict(request.parameters)}


def _tensors(result: InferResult) -> Tensors:
    response = result.get_response()  # its outputs are read once; as_numpy looks for each among all
    outputs = zip(response.outputs, response.raw_output_contents, strict=True)
    return {o.name: np.frombuffer(raw, triton_to_np_dtype(o.datatype)).reshape(o.shape) for o, raw in outputs}


@contextmanager
def _errors(address: str, timeout: float) -> Iterator[None]:
    try:
        yield
    except InferenceServerException as error:
        if error.status() == "StatusCode.UNAVAILABLE":
            raise unavailable(address, error.message().rsplit(": ", 1)[-1].rstrip("]")) from None
        if error.status() == "StatusCode.DEADLINE_EXCEEDED":
            raise too_late(address, timeout) from None
        raise refused(error.message()) from None
