"""Addresses as settings have them, HOST:PORT and URLs, and sockets that listen there."""

from __future__ import annotations

import re
import socket
from urllib.parse import urlsplit

from triton_yolo.clients.stream.errors import LineError

BACKLOG = 32  # connections that are accepted at a time, and so the descriptors that those beyond the bound may take
UNREAD_MS = 20_000  # for the other side to take what is sent, before the connection is cut (TCP_USER_TIMEOUT)


def host_and_port(text: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT; an IPv6 address stands in brackets.

    Raises:
        LineError: it is something else.
    """
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+)):(\d{1,5})", text, re.ASCII)
    if not found or int(found[3]) > 65_535:
        raise LineError(f"{text!r} is no HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080")
    return found[1] or found[2], int(found[3])


def collector(text: str) -> str:
    """Return the address of a collector of traces, which takes OTLP over HTTP.

    Raises:
        ValueError: it is none.
    """
    try:
        parts = urlsplit(text)
        there = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and text.isprintable()
    except ValueError:
        there = False
    if not there:
        raise ValueError(f"{text!r} is no address such as http://127.0.0.1:4318/v1/traces")
    return text


def listen(address: str) -> socket.socket:
    """Return a socket that listens.

    Args:
        address: HOST:PORT.

    Raises:
        LineError: the port is taken, or the host is no address of this machine.
    """
    host, port = host_and_port(address)
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)  # those that come inherit it
            listener.bind(where)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except socket.gaierror:
        raise LineError(f"{host} is no address of this machine") from None
    except OSError as error:
        raise LineError(f"cannot listen on {address}: {error.strerror}; choose another HOST:PORT") from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the address of a page for a browser."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
