"""Counts the bytes between a client and a server."""

from __future__ import annotations

import contextlib
import socket
import threading

CHUNK = 1 << 20


class CountingProxy:
    """Listens on a free port of this machine and hands everything on; a context manager.

    Attributes:
        host: where it listens.
        port: where it listens.
        bytes: that have gone through, both ways together.
    """

    def __init__(self, host: str, port: int) -> None:
        """Prepare.

        Args:
            host: of the server.
            port: of the server.
        """
        self.server, self.bytes = (host, port), 0
        self._lock = threading.Lock()

    def __enter__(self) -> CountingProxy:
        """Listen."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening; connections end with the client."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # it has been closed
                return
            server = socket.create_connection(self.server)
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._hand_on, args=(source, target), daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket) -> None:
        with source, contextlib.suppress(OSError):  # either side may hang up at any time
            while chunk := source.recv(CHUNK):
                with self._lock:
                    self.bytes += len(chunk)
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)
