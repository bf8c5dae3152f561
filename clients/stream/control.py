"""Adding and removing cameras while a line runs, through a local socket: a line of JSON each way.

    {"add": {"name": "top", "uri": "rtsp://..."}}    {"remove": "top"}    {"report": true}

The answer is {"ok": true}, {"error": "..."} or the report.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from triton_yolo.clients.stream.errors import LineError
from triton_yolo.errors import TritonYoloError

LARGEST = 64 * 1024  # bytes of a request

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Control:
    """The socket; only the user that runs the line may open it."""

    def __init__(self, path: Path, handle: Handler) -> None:
        """Prepare.

        Args:
            path: of the socket.
            handle: is called with each request, and returns the answer.
        """
        self._path, self._handle = path, handle
        self._server: asyncio.AbstractServer | None = None
        self._inode = 0

    async def open(self) -> None:
        """Listen.

        Raises:
            LineError: the path cannot be used.
        """
        old = os.umask(0o177)
        try:
            # asyncio would take the path of any socket away, also of one that somebody listens to.
            if self._path.is_socket() and await _answers(self._path):
                raise LineError(f"--control {self._path}: another line listens there")
            self._server = await asyncio.start_unix_server(self._serve, self._path, limit=LARGEST)
            self._inode = self._path.stat().st_ino
        except OSError as error:
            raise LineError(f"--control {self._path}: {error.strerror or error}") from None
        finally:
            os.umask(old)

    async def close(self) -> None:
        """Stop listening, and remove the socket."""
        if self._server:
            self._server.close()
            with contextlib.suppress(FileNotFoundError):
                if self._path.stat().st_ino == self._inode:  # nobody has put another there
                    self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(f"{json.dumps(await self._answer(line))}\n".encode())
                await writer.drain()
        except (ValueError, ConnectionError):
            pass  # a line that is too long, or nobody there any more
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            content = json.loads(line)
            if not isinstance(content, dict) or len(content) != 1:
                raise ValueError("one of add, remove and report")
            return await self._handle(content)
        except (ValueError, RecursionError, TritonYoloError) as error:
            return {"error": f"{error}"}


async def _answers(path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True
