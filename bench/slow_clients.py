"""Clients that hold connections open, and send a byte now and then or nothing at all."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
from types import TracebackType

UPLOAD = 100_000_000  # bytes that are announced
PAUSE = 1.0  # seconds between two bytes of one client
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # of a connection of gRPC, with empty settings


def _headers() -> bytes:
    """Return a frame of HTTP/2 that begins a call of gRPC: its fields as literals (RFC 7541, 6.2.2)."""
    path = "/inference.GRPCInferenceService/ModelInfer"
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "a"}
    fields |= {"te": "trailers", "content-type": "application/grpc"}  # codespell:ignore te
    block = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    return len(block).to_bytes(3, "big") + b"\1\4" + struct.pack(">I", 1) + block  # END_HEADERS, of stream 1


def _data(content: bytes) -> bytes:
    return len(content).to_bytes(3, "big") + b"\0\0" + struct.pack(">I", 1) + content


# What each kind of client sends at once, and from then on once in PAUSE seconds. The call of gRPC announces a message.
KINDS: dict[str, tuple[int, bytes, bytes]] = {
    "upload over HTTP": (
        0,
        f"POST /v2/models/detect/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {UPLOAD}\r\n\r\n".encode(),
        b"1",
    ),
    "upload over gRPC": (1, PREFACE + _headers() + _data(b"\0" + struct.pack(">I", UPLOAD)), _data(b"1")),
    "half a header": (0, b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nX: ", b"1"),
    "silent over HTTP": (0, b"", b""),
    "silent over gRPC": (1, PREFACE, b""),
}


class SlowClients:
    """Some clients of all kinds in turn, and a thread that sends for them; a context manager.

    Attributes:
        open: their connections, by kind.
    """

    def __init__(self, host: str, http: int, grpc: int, count: int, kinds: tuple[str, ...] = tuple(KINDS)) -> None:
        """Connect.

        Args:
            host: of the server.
            http: its port for HTTP.
            grpc: its port for gRPC.
            count: of clients.
            kinds: of KINDS.

        Raises:
            OSError: a connection cannot be made, or breaks at once.
        """
        self.open: list[tuple[str, socket.socket]] = []
        self._end = threading.Event()
        for kind in itertools.islice(itertools.cycle(kinds), count):
            which, first, _ = KINDS[kind]
            connection = socket.create_connection((host, (http, grpc)[which]), timeout=30)
            connection.sendall(first)
            connection.settimeout(None)  # else Python waits before it asks whether there is something
            self.open.append((kind, connection))
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> SlowClients:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()
        for _, connection in self.open:
            connection.close()

    def cut(self) -> int:
        """Return how many connections the server has closed."""
        return sum(_is_closed(connection) for _, connection in self.open)

    def _send(self) -> None:
        while not self._end.wait(PAUSE):
            for kind, connection in self.open:
                with contextlib.suppress(OSError):  # the server has closed it
                    connection.sendall(KINDS[kind][2])


def _is_closed(connection: socket.socket) -> bool:
    """Return whether the other side has closed a connection, or reset it; what it has said before is thrown away."""
    try:
        while connection.recv(65536, socket.MSG_DONTWAIT):
            pass
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True
