"""Requests over HTTP for asyncio, carried by aiohttp."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from triton_yolo.clients.errors import too_late, unavailable
from triton_yolo.clients.protocols.address import Address
from triton_yolo.clients.protocols.base import AsyncProtocol, Call, Json, Tensors
from triton_yolo.clients.protocols.http_messages import (
    infer_path,
    packed,
    packed_call,
    reason,
    stranger,
    unpacked,
    unpacked_call,
)
from triton_yolo.clients.request import Request


class AsyncHttpProtocol(AsyncProtocol):
    """A pool of connections, which belongs to the event loop that uses it first."""

    def __init__(self, address: Address, timeout: float) -> None:
        """Prepare; the pool connects when it is used.

        Args:
            address: where the server is.
            timeout: of each request, in seconds.

        Raises:
            DetectionError: a certificate, a private key or an API key cannot be used.
        """
        self.url, self.timeout, self._headers = address.url, timeout, address.access.headers()
        self._tls = address.access.context() if address.tls else True
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The pool, opened inside the event loop, as aiohttp demands."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),
                timeout=aiohttp.ClientTimeout(self.timeout),
                headers=self._headers,
            )
        return self._session

    async def infer(self, request: Request) -> Tensors:
        """See Protocol."""
        body, headers = packed(request)
        with _errors(self.url, self.timeout):
            async with self.session.post(
                f"{self.url}/{infer_path(request)}",
                data=io.BytesIO(body),  # aiohttp sends a file in parts, and large bytes at once
                headers=headers,
            ) as answer:
                return unpacked(self.url, answer.status, await answer.read(), answer.headers)

    async def call(self, call: Call) -> Json:
        """See Protocol."""
        method, body, headers = packed_call(call)
        with _errors(self.url, self.timeout):
            async with self.session.request(
                method, f"{self.url}/{call.path}", data=body or None, headers=headers
            ) as answer:
                return unpacked_call(self.url, call, answer.status, await answer.read())

    async def close(self) -> None:
        """See Protocol."""
        if self._session is not None:
            await self._session.close()


@contextmanager
def _errors(url: str, timeout: float) -> Iterator[None]:
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise unavailable(url, reason(error.__cause__ or error.__context__ or error)) from None
    except asyncio.TimeoutError:
        raise too_late(url, timeout) from None
    except aiohttp.ClientResponseError:
        raise stranger(url) from None
    except aiohttp.ClientError as error:
        cause = error.__cause__ or error.__context__ or error
        if isinstance(cause, TimeoutError):  # while the body was being sent
            raise too_late(url, timeout) from None
        raise unavailable(url, reason(cause)) from None
