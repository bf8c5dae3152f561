"""Choose the protocol that an address asks for."""

from __future__ import annotations

from triton_yolo.clients.protocols.address import Address
from triton_yolo.clients.protocols.base import AsyncProtocol, Protocol


def connect(address: Address, timeout: float) -> Protocol:
    """Return the protocol for any number of threads; nothing is sent yet.

    Args:
        address: where the server is.
        timeout: of each request, in seconds.

    Raises:
        DetectionError: a certificate, a private key or an API key cannot be used.
    """
    if address.protocol == "http":  # each protocol loads its own libraries
        from triton_yolo.clients.protocols.http import HttpProtocol

        return HttpProtocol(address, timeout)
    from triton_yolo.clients.protocols.grpc import GrpcProtocol

    return GrpcProtocol(address, timeout)


def connect_async(address: Address, timeout: float) -> AsyncProtocol:
    """Return the protocol for asyncio; arguments and errors are those of ``connect``."""
    if address.protocol == "http":
        from triton_yolo.clients.protocols.async_http import AsyncHttpProtocol

        return AsyncHttpProtocol(address, timeout)
    from triton_yolo.clients.protocols.grpc import AsyncGrpcProtocol

    return AsyncGrpcProtocol(address, timeout)
