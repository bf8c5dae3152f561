"""The line's page in a browser."""

from __future__ import annotations

import logging
import socket
import time
from typing import Any

from triton_yolo.clients.stream.addresses import listen, url_of
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.events import CameraStatus, Event, LineStatus, Picture
from triton_yolo.clients.stream.line import Line
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.sinks.page.app import App, assets
from triton_yolo.clients.stream.sinks.page.server import Server
from triton_yolo.clients.stream.sinks.page.state import State
from triton_yolo.clients.stream.sinks.settings import PageSettings
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict

logger = logging.getLogger(__name__)


class Page(Sink):
    """Shows the line in a browser.

    Attributes:
        url: the page's address.
    """

    kind = "page"
    events = (FrameVerdict, BoardVerdict, Picture, CameraStatus, LineStatus)
    period = 1.0

    def __init__(self, settings: PageSettings, line: Line, listener: socket.socket) -> None:
        """Begin.

        Args:
            settings: of the page.
            line: the line.
            listener: the socket that it listens on.
        """
        self.url = url_of(listener)
        self._state = State(line, settings, assets())
        self._app = App(self._state, settings.names, settings.viewers)
        self._server = Server(self._app.asgi, listener, settings.connections)
        super().__init__(pictures=2 * max(8, len(line.cameras)))

    @classmethod
    def of(cls, settings: PageSettings, line: Line) -> Page:
        """See Sink."""
        try:
            listener = listen(settings.listen)
        except LineError as error:
            raise LineError(f"page: {error}") from None
        page = cls(settings, line, listener)
        logger.warning("the page is at %s", page.url)
        return page

    def wants(self, verdict: FrameVerdict) -> int | None:
        """See Sink."""
        return self._state.wishes.side(verdict, time.monotonic())

    def write(self, event: Event) -> None:
        """See Sink."""
        self._state.take(event, time.monotonic())
        if isinstance(event, Picture):
            self._server.call(self._app.wake)

    def tick(self) -> None:
        """See Sink."""
        self._state.end_second(time.monotonic(), len(self._app.viewers))
        self._server.call(self._app.wake)

    def finish(self) -> None:
        """See Sink."""
        self._server.close()

    def status(self) -> dict[str, Any]:
        """See Sink."""
        return {"viewers": len(self._app.viewers), "failures_bytes": self._state.failures.nbytes}
