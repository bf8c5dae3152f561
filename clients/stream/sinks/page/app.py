"""The page over HTTP, and what it shows over WebSockets. Everything can be read, and nothing can be changed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from triton_yolo.clients.stream.sinks.page.state import State
from triton_yolo.clients.stream.sinks.page.viewer import Viewer

STATIC = Path(__file__).parent / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
CHANGES = "no-cache"  # a newer version of the project has other files at the same addresses
STAYS = "private, max-age=86400, immutable"
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
        self.asgi: ASGIApp = Guard(Starlette(routes=routes), names)

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


class Guard:
    """Refuses requests that other sites make through a viewer's browser, and adds the headers of each answer."""

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        """Prepare.

        Args:
            app: answers what is let through.
            names: further host names of this machine.
        """
        self._app = app
        self._names = {name.lower() for name in (*names, "localhost", socket.gethostname(), socket.getfqdn())}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_own(host):
            # A name that its owner has pointed at this machine: his page may not read this one (DNS rebinding).
            name = re.sub(r"[^\w.:\[\]-]", "?", host[:100], flags=re.ASCII)
            words = f"the name {name!r} is not known to this page: add it to its names in the line's file\n"
            await self._refuse(scope, receive, send, words, 421)
        elif scope["type"] == "websocket" and (origin := headers.get("origin")) and urlsplit(origin).netloc != host:
            await self._refuse(scope, receive, send, "pages of other sites may not read this one\n", 403)
        else:
            await self._app(scope, receive, _with_headers(send) if scope["type"] == "http" else send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, words: str, status: int) -> None:
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(PlainTextResponse(words, status))
        else:
            await PlainTextResponse(words, status)(scope, receive, _with_headers(send))

    def _is_own(self, host: str) -> bool:
        """Return whether a Host header names this machine. An address always does: nobody can point it elsewhere."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name.rstrip(".") in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers.setdefault("Cache-Control", CHANGES)
        await send(message)

    return sending
