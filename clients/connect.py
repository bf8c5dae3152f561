"""Picks the transport that an address asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.grpc_transport import AsyncGrpcTransport, GrpcTransport
from triton_yolo.clients.http_transport import AsyncHttpTransport, HttpTransport
from triton_yolo.clients.transport import AsyncTransport, Transport

# Each takes the address and the timeout.
PROTOCOLS: dict[str, tuple[Callable[[str, float], Transport], Callable[[str, float], AsyncTransport]]] = {
    "grpc": (GrpcTransport, AsyncGrpcTransport),
    "http": (HttpTransport, AsyncHttpTransport),
}
Kind = Literal["grpc", "http", "system", "cuda"]


def connect(url: str, timeout: float, kind: Kind | None = None) -> Transport:
    """Make a transport; nothing is sent yet.

    Args:
        url: HOST:PORT or grpc://HOST:PORT for gRPC, http://HOST:PORT for HTTP.
        timeout: of each request, in seconds.
        kind: the protocol, where the URL names none; or a kind of shared memory, beside which either protocol goes.

    Raises:
        DetectionError: the URL or the kind is another one, or they contradict each other.
    """
    if kind is not None and kind not in get_args(Kind):
        raise DetectionError(f"{kind!r} is no transport: choose one of {', '.join(get_args(Kind))}")
    protocol, address = _split(url, kind if kind in PROTOCOLS else None)
    return PROTOCOLS[protocol][0](address, timeout)


def connect_async(url: str, timeout: float) -> AsyncTransport:
    """Make a transport for asyncio; arguments and errors are those of ``connect``."""
    protocol, address = _split(url)
    return PROTOCOLS[protocol][1](address, timeout)


def _split(url: str, wanted: str | None = None) -> tuple[str, str]:
    """Protocol and HOST:PORT."""
    scheme, separator, address = url.rpartition("://")
    protocol = scheme if separator else wanted or "grpc"
    if protocol not in PROTOCOLS or not address.strip("/"):
        raise DetectionError(f"{url!r} is no address of a server: give HOST:PORT for gRPC or http://HOST:PORT for HTTP")
    if wanted not in (None, protocol):
        raise DetectionError(f"{url} asks for {protocol}, and the transport is to be {wanted}: leave one of them out")
    return protocol, address.rstrip("/")
