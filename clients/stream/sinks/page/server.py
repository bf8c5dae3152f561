"""The page's web server, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from asyncio import TimerHandle
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from triton_yolo.clients.stream.addresses import BACKLOG

SILENT_SECONDS = 10.0  # for a request to arrive whole
REFUSED_SECONDS, REFUSED_AT_ONCE = 1.0, 64  # for those beyond the bound to read that they are refused
END_SECONDS = 3.0
LONGEST_MESSAGE = 64  # bytes, of a viewer
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: 5\r\n\r\n"

logger = logging.getLogger(__name__)


class Server:
    """Serves an application until it is closed."""

    def __init__(self, app: ASGIApp, listener: socket.socket, most: int) -> None:
        """Start.

        Args:
            app: the application.
            listener: the socket; is closed with the server.
            most: connections at the same time; others get 503.
        """

        class Connection(_Connection):
            most_connections = most

        self._listener = listener
        config = uvicorn.Config(
            app,
            http=Connection,
            ws=WebSocketsSansIOProtocol,
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=1,
            ws_max_size=LONGEST_MESSAGE,
            ws_per_message_deflate=False,  # JPEGs are
        )
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what clients do wrong is theirs
        self._server = uvicorn.Server(config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        self._thread.start()

    def call(self, function: Any) -> None:
        """Call a function in the server's thread, soon; nothing happens where it has ended."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function)

    def close(self) -> None:
        """End all connections, within a bounded time."""
        self._server.should_exit = True
        self._thread.join(END_SECONDS)

    def _run(self) -> None:
        try:
            with contextlib.closing(self._loop):
                self._loop.run_until_complete(self._server.serve([self._listener]))
                for connection in self._server.server_state.connections:  # whose other side takes nothing
                    connection.transport.abort()
                self._loop.run_until_complete(asyncio.sleep(0))
        except Exception:
            logger.exception("the page's server has ended")
        finally:
            self._listener.close()


class _Connection(H11Protocol):
    """A connection, unless there are too many; silence ends it."""

    most_connections = 0
    _refused = False
    _timer: TimerHandle | None = None
    _before: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        over = len(self.connections) - self.most_connections
        if over > REFUSED_AT_ONCE:
            transport.abort()
        elif over > 0:
            # What it asks is read, or the kernel would cut it off before it has read the answer.
            self._refused = True
            transport.write(REFUSAL)
            with contextlib.suppress(OSError):  # it has gone already
                transport.write_eof()
            self._timer = self.loop.call_later(REFUSED_SECONDS, transport.abort)
        else:
            self._timer = self.loop.call_later(SILENT_SECONDS, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if not self._refused:
            super().data_received(data)

    def _check(self) -> None:
        """Cut the connection if no request has arrived since the last look, and none is being answered."""
        if self.transport.get_protocol() is not self:  # it is a WebSocket now
            return
        answers = self.cycle is not None and not self.cycle.response_complete
        if self.transport.is_closing() or (self.cycle is self._before and not answers):
            self.transport.abort()
            return
        self._before = self.cycle
        self._timer = self.loop.call_later(SILENT_SECONDS, self._check)
