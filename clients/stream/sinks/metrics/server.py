"""A small server of its own for Prometheus: few connections, and none that takes for ever."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import ThreadingHTTPServer
from typing import Any

from prometheus_client.exposition import MetricsHandler
from prometheus_client.registry import Collector

from triton_yolo.clients.stream.errors import LineError

CONNECTIONS = 8  # at once; more are closed
SECONDS = 5.0  # for each read and write of a connection
WHOLE_SECONDS = 20.0  # for a connection


class _Handler(MetricsHandler):
    timeout = SECONDS

    def setup(self) -> None:
        super().setup()
        # However slowly it sends, the connection ends.
        self._end = threading.Timer(WHOLE_SECONDS, self._shut)
        self._end.daemon = True
        self._end.start()

    def finish(self) -> None:
        self._end.cancel()
        super().finish()

    def do_GET(self) -> None:
        if self.path.partition("?")[0] not in ("/", "/metrics"):
            self.send_error(404)
            return
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: requests come every few seconds."""

    def _shut(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: whoever asked has gone."""


class MetricsServer:
    """Serves a registry at /metrics."""

    def __init__(self, host: str, port: int, registry: Collector) -> None:
        """Listen.

        Args:
            host: address to listen at.
            port: port to listen at.
            registry: what is served.

        Raises:
            LineError: it cannot listen there.
        """
        try:
            self._server = _Server((host, port), _Handler.factory(registry))
        except (OSError, OverflowError) as error:
            words = getattr(error, "strerror", None) or str(error)
            raise LineError(f"sinks: metrics: {host}:{port}: {words}") from None
        self._thread = threading.Thread(target=self._server.serve_forever, name="sink-metrics-server", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
