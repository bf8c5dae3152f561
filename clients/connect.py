"""Picks the transport that an address asks for."""

from __future__ import annotations

from collections.abc import Callable

from clients.errors import DetectionError
from clients.grpc_transport import AsyncGrpcTransport, GrpcTransport
from clients.http_transport import AsyncHttpTransport, HttpTransport
from clients.transport import AsyncTransport, Transport

# Each takes the address and the timeout.
KINDS: dict[str, tuple[Callable[[str, float], Transport], Callable[[str, float], AsyncTransport]]] = {
    "grpc": (GrpcTransport, AsyncGrpcTransport),
    "http": (HttpTransport, AsyncHttpTransport),
}


def connect(url: str, timeout: float) -> Transport:
    """Make a transport; nothing is sent yet.

    Args:
        url: HOST:PORT or grpc://HOST:PORT for gRPC, http://HOST:PORT for HTTP.
        timeout: of each request, in seconds.

    Raises:
        DetectionError: the URL is of another kind.
    """
    kind, address = _split(url)
    return KINDS[kind][0](address, timeout)


def connect_async(url: str, timeout: float) -> AsyncTransport:
    """Make a transport for asyncio; arguments and errors are those of ``connect``."""
    kind, address = _split(url)
    return KINDS[kind][1](address, timeout)


def _split(url: str) -> tuple[str, str]:
    scheme, separator, address = url.rpartition("://")
    kind = scheme if separator else "grpc"
    if kind not in KINDS or not address.strip("/"):
        raise DetectionError(f"{url!r} is no address of a server: give HOST:PORT for gRPC or http://HOST:PORT for HTTP")
    return kind, address.rstrip("/")
