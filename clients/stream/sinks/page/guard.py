"""Refuses what other sites ask through a viewer's browser, and says what a page may load: nothing from elsewhere."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
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


class Guard:
    """Refuses requests that other sites make through a viewer's browser, and adds the headers of each answer."""

    def __init__(self, app: ASGIApp, names: Iterable[str], remedy: str) -> None:
        """Prepare.

        Args:
            app: answers what is let through.
            names: further host names of this machine.
            remedy: what is to be done where a name is missing there.
        """
        self._app, self._remedy = app, remedy
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
            words = f"the name {name!r} is not known to this page: {self._remedy}\n"
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
