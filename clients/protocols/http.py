"""Requests over HTTP for threads, carried by urllib3.

tritonclient's own synchronous HTTP client runs on gevent, whose connections cannot be used from the threads of
``detect_many``.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager

import urllib3

from triton_yolo.clients.errors import too_late, unavailable
from triton_yolo.clients.protocols.address import Address
from triton_yolo.clients.protocols.base import Call, Json, Protocol, Tensors
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

IDLE_CONNECTIONS = 64  # kept for the next request; more requests than that at once open more


class HttpProtocol(Protocol):
    """A pool of connections, shared by all threads."""

    def __init__(self, address: Address, timeout: float) -> None:
        """Prepare; the pool connects when it is used.

        Args:
            address: where the server is.
            timeout: of each request, in seconds.

        Raises:
            DetectionError: a certificate, a private key or an API key cannot be used.
        """
        self.url, self.timeout, self.own = address.url, timeout, address.access.headers()
        self.pool = urllib3.PoolManager(
            maxsize=IDLE_CONNECTIONS,
            retries=False,
            timeout=urllib3.Timeout(timeout),
            ssl_context=address.access.context() if address.tls else None,
        )

    def infer(self, request: Request) -> Tensors:
        """See Protocol."""
        body, headers = packed(request)
        answer = self._send("POST", infer_path(request), body, headers)
        return unpacked(self.url, answer.status, answer.data, answer.headers)

    def call(self, call: Call) -> Json:
        """See Protocol."""
        method, body, headers = packed_call(call)
        answer = self._send(method, call.path, body, headers)
        return unpacked_call(self.url, call, answer.status, answer.data)

    def close(self) -> None:
        """See Protocol."""
        self.pool.clear()

    def _send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        with _errors(self.url, self.timeout):
            return self.pool.request(method, f"{self.url}/{path}", body, headers=self.own | headers)


@contextmanager
def _errors(url: str, timeout: float) -> Iterator[None]:
    try:
        yield
    except urllib3.exceptions.NewConnectionError as error:
        raise unavailable(url, reason(error.__cause__ or error.__context__ or error)) from None
    except urllib3.exceptions.TimeoutError:
        raise too_late(url, timeout) from None
    except urllib3.exceptions.HTTPError as error:
        cause = error.__cause__ or error.__context__ or error
        if isinstance(cause, TimeoutError):  # while the body was being sent
            raise too_late(url, timeout) from None
        if isinstance(cause, http.client.BadStatusLine) and not isinstance(cause, ConnectionError):
            raise stranger(url) from None
        raise unavailable(url, reason(cause)) from None
