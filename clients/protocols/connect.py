"""Choose the protocol that an address asks for."""

from __future__ import annotations

from typing import NamedTuple

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.protocols.base import AsyncProtocol, Protocol


class Address(NamedTuple):
    """Where the server is.

    Attributes:
        protocol: "grpc" or "http".
        host: HOST:PORT.
    """

    protocol: str
    host: str


def parse_url(url: str) -> Address:
    """Return protocol and HOST:PORT of a URL.

    Args:
        url: HOST:PORT or grpc://HOST:PORT for gRPC, http://HOST:PORT for HTTP.

    Raises:
        DetectionError: it is no such URL.
    """
    scheme, separator, host = url.rpartition("://")
    protocol = scheme if separator else "grpc"
    if protocol not in ("grpc", "http") or not host.strip("/"):
        raise DetectionError(f"{url!r} is no address of a server: give HOST:PORT for gRPC or http://HOST:PORT for HTTP")
    return Address(protocol, host.rstrip("/"))


def connect(address: Address, timeout: float) -> Protocol:
    """Return the protocol for any number of threads; nothing is sent yet.

    Args:
        address: where the server is.
        timeout: of each request, in seconds.
    """
    if address.protocol == "http":  # each protocol loads its own libraries
        from triton_yolo.clients.protocols.http import HttpProtocol

        return HttpProtocol(address.host, timeout)
    from triton_yolo.clients.protocols.grpc import GrpcProtocol

    return GrpcProtocol(address.host, timeout)


def connect_async(address: Address, timeout: float) -> AsyncProtocol:
    """Return the protocol for asyncio; arguments are those of ``connect``."""
    if address.protocol == "http":
        from triton_yolo.clients.protocols.async_http import AsyncHttpProtocol

        return AsyncHttpProtocol(address.host, timeout)
    from triton_yolo.clients.protocols.grpc import AsyncGrpcProtocol

    return AsyncGrpcProtocol(address.host, timeout)
