"""One viewer: gets what is new as fast as it takes it, the newest first, and what it has missed never."""

from __future__ import annotations

import asyncio
import contextlib
import time

from starlette.websockets import WebSocket, WebSocketDisconnect

from triton_yolo.clients.stream.sinks.page.state import State

UNDERWAY = 8  # messages that are sent before the first of them is acknowledged
PATIENCE = 30.0  # seconds without an acknowledgement after which a viewer is taken for gone
UNWANTED = 1008  # "policy violation", of RFC 6455


class Viewer:
    """Sends to one browser. It acknowledges each message with its number, once it has shown what came with it."""

    def __init__(self, state: State, websocket: WebSocket) -> None:
        """Prepare.

        Args:
            state: what is shown.
            websocket: has been accepted.
        """
        self._state, self._websocket = state, websocket
        self._new = asyncio.Event()
        self._sent = self._acknowledged = 0
        self._heard = time.monotonic()  # when it acknowledged something, or had nothing to acknowledge
        self._status = self._failures = -1  # versions that it has
        self._pictures: dict[str, int] = {}  # versions that it has, the camera first that has waited longest

    def wake(self) -> None:
        """Say that there is something new, or room for it."""
        self._new.set()

    async def serve(self) -> None:
        """Send until the viewer goes, is silent, or says what it has no business to say.

        Raises:
            WebSocketDisconnect: it has gone.
        """
        reading = asyncio.ensure_future(self._read())
        try:
            await self._send_text(self._state.hello())
            while not reading.done():
                self._new.clear()
                while self._sent - self._acknowledged < UNDERWAY and await self._send_next():
                    pass
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._new.wait(), PATIENCE)
                if self._sent == self._acknowledged:
                    self._heard = time.monotonic()
                elif time.monotonic() - self._heard > PATIENCE:
                    return  # nobody is there any more
            await reading
            await self._websocket.close(UNWANTED, "only numbers of messages are expected")
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self) -> None:
        """Take acknowledgements; ends at anything else.

        Raises:
            WebSocketDisconnect: the viewer has gone.
        """
        try:
            while True:
                message = await self._websocket.receive()
                if message["type"] == "websocket.disconnect":
                    raise WebSocketDisconnect(message["code"])
                text = message.get("text") or ""
                if not (text.isascii() and text.isdigit() and self._acknowledged < int(text) <= self._sent):
                    return
                self._acknowledged, self._heard = int(text), time.monotonic()
                self._new.set()
        finally:
            self._new.set()

    async def _send_next(self) -> bool:
        """Send what is new and most urgent, and return whether there was something."""
        state = self._state
        if (status := state.status).version != self._status:
            self._status = status.version
            await self._send_text(status.text)
            return True
        if (failed := state.failed).version != self._failures:
            self._failures = failed.version
            await self._send_text(failed.text)
            return True
        pictures = list(state.live.values())
        fresh = [picture for picture in pictures if self._pictures.get(picture.camera) != picture.version]
        if not fresh:
            return False
        order = {name: place for place, name in enumerate(self._pictures)}
        picture = min(fresh, key=lambda one: order.get(one.camera, -1))
        self._pictures.pop(picture.camera, None)
        self._pictures[picture.camera] = picture.version
        self._sent += 1
        await self._websocket.send_bytes(picture.message())
        return True

    async def _send_text(self, text: str) -> None:
        self._sent += 1
        await self._websocket.send_text(text)
