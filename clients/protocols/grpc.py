"""Requests as gRPC messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
from google.protobuf.json_format import MessageToDict, ParseDict
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype

from triton_yolo.clients.errors import RESTRICTED, DetectionError, refused, too_late, unavailable
from triton_yolo.clients.protocols.address import Address
from triton_yolo.clients.protocols.base import AsyncProtocol, Call, Json, Protocol, Tensors, decoded
from triton_yolo.clients.request import Request, SharedTensor

LARGEST = 2**31 - 1  # bytes of a message that protobuf can write
CHANNEL = [
    ("grpc.max_send_message_length", -1),  # a frame of 6000x4000 has 72 MB
    ("grpc.max_receive_message_length", -1),
    # Notices a connection that died silently; Triton closes those of clients that ping more often than every 300 s.
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # gRPC doubles its wait between attempts up to two minutes; a server that comes back is found sooner.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


class GrpcProtocol(Protocol):
    """One channel, shared by all threads."""

    def __init__(self, address: Address, timeout: float) -> None:
        """Open a channel, which connects when it is used.

        Args:
            address: where the server is.
            timeout: of each request, in seconds.

        Raises:
            DetectionError: a certificate, a private key or an API key cannot be used.
        """
        self.host, self.timeout, self.own = address.host, timeout, _metadata(address)
        self.channel = _channel(grpc, self.host, _credentials(address))
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)

    def infer(self, request: Request) -> Tensors:
        """See Protocol."""
        message = _message(request)
        with _errors(self.host, self.timeout):
            metadata = (*self.own, *request.headers.items())
            return _tensors(self.stub.ModelInfer(message, timeout=self.timeout, metadata=metadata))

    def call(self, call: Call) -> Json:
        """See Protocol."""
        with _errors(self.host, self.timeout):
            rpc = getattr(self.stub, call.rpc)
            return _answer(call, rpc(_question(call), timeout=self.timeout, metadata=self.own))

    def close(self) -> None:
        """See Protocol."""
        self.channel.close()


class AsyncGrpcProtocol(AsyncProtocol):
    """One channel, which belongs to the event loop that uses it first."""

    def __init__(self, address: Address, timeout: float) -> None:
        """Prepare; arguments and errors are those of GrpcProtocol."""
        self.host, self.timeout, self.own = address.host, timeout, _metadata(address)
        self._credentials = _credentials(address)
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None

    @property
    def stub(self) -> Any:
        """The service, on a channel that is opened inside the event loop, as gRPC demands."""
        if self._stub is None:
            self._channel = _channel(grpc.aio, self.host, self._credentials)
            self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        return self._stub

    async def infer(self, request: Request) -> Tensors:
        """See Protocol."""
        message = _message(request)
        with _errors(self.host, self.timeout):
            metadata = (*self.own, *request.headers.items())
            return _tensors(await self.stub.ModelInfer(message, timeout=self.timeout, metadata=metadata))

    async def call(self, call: Call) -> Json:
        """See Protocol."""
        with _errors(self.host, self.timeout):
            rpc = getattr(self.stub, call.rpc)
            return _answer(call, await rpc(_question(call), timeout=self.timeout, metadata=self.own))

    async def close(self) -> None:
        """See Protocol."""
        if self._channel is not None:
            await self._channel.close()


def _credentials(address: Address) -> grpc.ChannelCredentials | None:
    """Return how a channel is encrypted; None where it is not."""
    return grpc.ssl_channel_credentials(*address.access.pem()) if address.tls else None


def _channel(kind: Any, host: str, credentials: grpc.ChannelCredentials | None) -> Any:
    """Open a channel of ``grpc`` or of ``grpc.aio``, encrypted where there are credentials."""
    if credentials is None:
        return kind.insecure_channel(host, CHANNEL)
    return kind.secure_channel(host, credentials, CHANNEL)


def _metadata(address: Address) -> tuple[tuple[str, str], ...]:
    """Return what each request shows."""
    return tuple(address.access.headers().items())


def _message(request: Request) -> Any:
    message = service_pb2.ModelInferRequest(model_name=request.model)
    tensor = message.inputs.add(name=request.input, datatype="UINT8", shape=request.tensor.shape)
    if isinstance(request.tensor, SharedTensor):
        for name, place in request.tensor.parameters().items():
            _set(tensor.parameters[name], place)
    elif request.tensor.nbytes > LARGEST - 4096:  # the rest of the message is far smaller
        raise DetectionError(
            f"{request.tensor.nbytes} bytes do not fit into a gRPC message of at most {LARGEST}: send fewer frames in "
            "one request, or use memory='system'"
        )
    else:
        message.raw_input_contents.append(request.tensor.tobytes())
    for name, other in request.others.items():
        message.inputs.add(name=name, datatype=np_to_triton_dtype(other.dtype), shape=other.shape)
        message.raw_input_contents.append(other.tobytes())
    for name, value in request.parameters.items():
        _set(message.parameters[name], value)
    return message


def _set(parameter: Any, value: str | int | float) -> None:
    if isinstance(value, str):
        parameter.string_param = value
    elif isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int):
        parameter.int64_param = value
    else:
        parameter.double_param = value


def _tensors(response: Any) -> Tensors:
    outputs = zip(response.outputs, response.raw_output_contents, strict=True)
    return {output.name: decoded(raw, output.datatype, output.shape) for output, raw in outputs}


def _question(call: Call) -> Any:
    return ParseDict(call.message, getattr(service_pb2, f"{call.rpc}Request")())


def _answer(call: Call, response: Any) -> Json:
    content: Json = MessageToDict(response, preserving_proto_field_name=True)
    return dict(content[call.answer]) if call.answer else content


@contextmanager
def _errors(host: str, timeout: float) -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:  # the errors of both kinds of channel have a code and details
        code, details = error.code(), error.details() or ""
        if code == grpc.StatusCode.UNAVAILABLE and RESTRICTED not in details:
            raise unavailable(host, details) from None
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            raise too_late(host, timeout) from None
        raise refused(host, details) from None
