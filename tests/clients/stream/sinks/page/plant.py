"""A page behind which stands a feed of drawn boards, and what a viewer without a browser sees of it."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from websockets.sync.client import ClientConnection, connect

from bench.page_feed import Feed, drawn_boards
from triton_yolo.clients.stream.line import Line, checked
from triton_yolo.clients.stream.sinks.page.sink import Page
from triton_yolo.clients.stream.sinks.settings import PageSettings

PATIENCE = 60.0  # seconds; machines that run tests are busy
HEIGHT, WIDTH = 120, 160


@cache
def boards() -> Any:
    """Return the boards that are shown, see drawn_boards."""
    return drawn_boards(6, HEIGHT * 2, WIDTH * 2)


def line_of(*names: str, fps: float | None = None, **settings: Any) -> Line:
    """Return a line of drawn cameras."""
    cameras = [{"name": name, "uri": "synthetic:photo", "fps": fps} for name in names]
    return checked({"name": "line-3", "cameras": cameras, **settings}, "")


@dataclass
class Shown:
    """A page and what feeds it."""

    page: Page
    feed: Feed

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return self.page.url.removeprefix("http://").rstrip("/")


@contextmanager
def shown(line: Line, listen: str = "127.0.0.1:0", **settings: Any) -> Iterator[Shown]:
    """Show a line."""
    page = Page.of(PageSettings(kind="page", listen=listen, **settings), line)
    feed = Feed(page, boards(), line.verdict)
    try:
        yield Shown(page, feed)
    finally:
        feed.stop()
        page.close()


class Viewer:
    """A viewer that shows nothing."""

    def __init__(self, address: str, **options: Any) -> None:
        self._connection = connect(f"ws://{address}/live", open_timeout=PATIENCE, **options)
        self.socket: ClientConnection = self._connection.__enter__()
        self.number = 0

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Go."""
        self._connection.__exit__(None, None, None)

    def next(self, acknowledge: bool = True) -> tuple[dict[str, Any], bytes]:
        """Return the next message, and the picture that comes with it, if any."""
        data = self.socket.recv(PATIENCE)
        self.number += 1
        if acknowledge:
            self.socket.send(str(self.number))
        if isinstance(data, str):
            content: dict[str, Any] = json.loads(data)
            return content, b""
        (length,) = struct.unpack_from("<I", data)
        header: dict[str, Any] = json.loads(data[4 : 4 + length])
        return {"type": "picture", **header}, data[4 + length :]

    def until(self, kind: str, holds: Callable[[dict[str, Any]], Any] = lambda message: True) -> dict[str, Any]:
        """Return the first message of a kind for which something holds."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            message, _ = self.next()
            if message["type"] == kind and holds(message):
                return message
        raise AssertionError(f"no such {kind}")

    def camera(self, name: str, holds: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Return what is said of a camera once something holds of it."""

        def found(message: dict[str, Any]) -> bool:
            return any(one["name"] == name and holds(one) for one in message["cameras"])

        message = self.until("status", found)
        return next(one for one in message["cameras"] if one["name"] == name)
