"""The page over HTTP, and what it shows over WebSockets. Everything can be read, and nothing can be changed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from triton_yolo.clients.stream.sinks.page.guard import STAYS, Guard
from triton_yolo.clients.stream.sinks.page.state import State
from triton_yolo.clients.stream.sinks.page.viewer import Viewer

STATIC = Path(__file__).parent / "static"
TRY_AGAIN = 1013  # "try again later", of the registry of WebSocket close codes


def assets() -> str:
    """Return a name of the version of the page's files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()))).hexdigest()[:16]


class App:
    """The page's addresses.

    Attributes:
        asgi: the application.
        viewers: who looks at the moment.
    """

    def __init__(self, state: State, names: Iterable[str], most_viewers: int) -> None:
        """Prepare.

        Args:
            state: what is shown.
            names: further host names of this machine.
            most_viewers: who comes when so many look is refused.
        """
        self._state, self._most = state, most_viewers
        self.viewers: set[Viewer] = set()
        routes = [
            Route("/", self._page),
            Route("/failures/{run}/{number:int}.jpg", self._failure),
            Route("/failures/{run}/{number:int}-small.jpg", self._failure_small),
            WebSocketRoute("/live", self._live),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        self.asgi: ASGIApp = Guard(Starlette(routes=routes), names, "add it to its names in the line's file")

    def wake(self) -> None:
        """Tell all viewers that there is something new; called in the server's thread."""
        for viewer in self.viewers:
            viewer.wake()

    async def _page(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def _failure(self, request: Request) -> Response:
        return self._picture(request, small=False)

    async def _failure_small(self, request: Request) -> Response:
        return self._picture(request, small=True)

    def _picture(self, request: Request, small: bool) -> Response:
        failure = self._state.failures.get(request.path_params["run"], request.path_params["number"])
        if failure is None:
            return PlainTextResponse("this failure is not kept any more\n", 404)
        content = failure.small if small else failure.picture
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": STAYS})

    async def _live(self, websocket: WebSocket) -> None:
        await websocket.accept()
        if len(self.viewers) >= self._most:
            await websocket.close(TRY_AGAIN, f"{self._most} viewers look already")
            return
        viewer = Viewer(self._state, websocket)
        self.viewers.add(viewer)
        self._state.wishes.watched = True
        try:
            with contextlib.suppress(WebSocketDisconnect, asyncio.CancelledError):  # cancelled: the page ends
                await viewer.serve()
        finally:
            self.viewers.discard(viewer)
            self._state.wishes.watched = bool(self.viewers)
