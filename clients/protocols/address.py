"""Where a server is, and how it is spoken to there."""

from __future__ import annotations

from typing import NamedTuple

from triton_yolo.clients.access import Access
from triton_yolo.clients.errors import DetectionError

SCHEMES = {"grpc": ("grpc", False), "grpcs": ("grpc", True), "http": ("http", False), "https": ("http", True)}
LOCAL = ("localhost", "127.0.0.1", "[::1]")


class Address(NamedTuple):
    """Where the server is.

    Attributes:
        protocol: "grpc" or "http".
        host: HOST:PORT.
        tls: whether the connection is encrypted.
        access: what the client shows there.
    """

    protocol: str
    host: str
    tls: bool = False
    access: Access = Access()

    @property
    def url(self) -> str:
        """The address as a URL."""
        return f"{self.protocol}{'s' if self.tls else ''}://{self.host}"


def parse_url(url: str, access: Access | None = None) -> Address:
    """Return what a URL says.

    Args:
        url: HOST:PORT or grpc://HOST:PORT for gRPC, http://HOST:PORT for HTTP; grpcs:// and https:// with TLS.
        access: what the client shows there.

    Raises:
        DetectionError: it is no such URL, or does not go with what the client shows.
    """
    scheme, separator, host = url.rpartition("://")
    host = host.rstrip("/")
    if (scheme if separator else "grpc") not in SCHEMES or not host:
        raise DetectionError(
            f"{url!r} is no address of a server: give HOST:PORT for gRPC or http://HOST:PORT for HTTP, and "
            "grpcs://HOST:PORT or https://HOST:PORT with TLS"
        )
    protocol, tls = SCHEMES[scheme or "grpc"]
    address = Address(protocol, host, tls, access or Access())
    encrypted = address._replace(tls=True).url
    if address.access.encrypts and not tls:
        raise DetectionError(f"certificates are for TLS, and {url} has none: write {encrypted}")
    if address.access.api_key and not tls and host.rpartition(":")[0] not in LOCAL:
        raise DetectionError(f"an API key goes to another machine with TLS alone: write {encrypted}")
    return address
