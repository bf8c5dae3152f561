"""Requests as HTTP with tensors in binary.

tritonclient packs and unpacks them; urllib3 and aiohttp carry them, because tritonclient's own synchronous HTTP client
runs on gevent, whose connections cannot be used from the threads of ``detect_many``.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import aiohttp
import urllib3
from tritonclient.http import InferenceServerClient, InferInput

from triton_yolo.clients.detections import OUTPUTS
from triton_yolo.clients.errors import DetectionError, refused, too_late, unavailable
from triton_yolo.clients.request import Request
from triton_yolo.clients.transport import AsyncTransport, Json, MemoryKind, Tensors, Transport, attach

IDLE_CONNECTIONS = 64  # kept for the next request; more requests than that at once open more
JSON = {"Content-Type": "application/json"}
HEADER_LENGTH = "Inference-Header-Content-Length"  # where the JSON ends and the tensors begin


class HttpTransport(Transport):
    """A pool of connections, shared by all threads."""

    def __init__(self, address: str, timeout: float) -> None:
        """Prepare; the pool connects when it is used.

        Args:
            address: HOST:PORT.
            timeout: of each request, in seconds.
        """
        self.url, self.timeout = f"http://{address}", timeout
        self.pool = urllib3.PoolManager(maxsize=IDLE_CONNECTIONS, retries=False, timeout=urllib3.Timeout(timeout))

    def infer(self, request: Request) -> Tensors:
        """See Transport."""
        body, headers = _packed(request)
        answer = self._post(_path(request.model, "infer"), body, headers)
        return _unpacked(_checked(self.url, answer.status, answer.data), answer.headers)

    def config(self, model: str) -> Json:
        """See Transport."""
        return self._get(_path(model, "config"))

    def metadata(self, model: str | None = None) -> Json:
        """See Transport."""
        return self._get(_path(model))

    def register(self, kind: MemoryKind, name: str, fields: Json) -> None:
        """See Transport."""
        if "raw_handle" in fields:
            fields = {**fields, "raw_handle": {"b64": fields["raw_handle"]}}
        answer = self._post(_region_path(kind, name, "register"), json.dumps(fields).encode(), JSON)
        _checked(self.url, answer.status, answer.data)

    def unregister(self, kind: MemoryKind, name: str) -> None:
        """See Transport."""
        answer = self._post(_region_path(kind, name, "unregister"), b"", JSON)
        _checked(self.url, answer.status, answer.data)

    def close(self) -> None:
        """See Transport."""
        self.pool.clear()

    def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        with _errors(self.url, self.timeout):
            return self.pool.request("POST", f"{self.url}/{path}", body, headers=headers)

    def _get(self, path: str) -> Json:
        with _errors(self.url, self.timeout):
            answer = self.pool.request("GET", f"{self.url}/{path}")
        return _parsed(self.url, _checked(self.url, answer.status, answer.data))


class AsyncHttpTransport(AsyncTransport):
    """A pool of connections, which belongs to the event loop that uses it first."""

    def __init__(self, address: str, timeout: float) -> None:
        """Prepare; arguments are those of HttpTransport."""
        self.url, self.timeout = f"http://{address}", timeout
        self.opened: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The pool, opened inside the event loop, as aiohttp demands."""
        if self.opened is None:
            self.opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(self.timeout)
            )
        return self.opened

    async def infer(self, request: Request) -> Tensors:
        """See Transport."""
        body, headers = _packed(request)
        with _errors(self.url, self.timeout):
            url = f"{self.url}/{_path(request.model, 'infer')}"
            async with self.session.post(url, data=body, headers=headers) as answer:
                return _unpacked(_checked(self.url, answer.status, await answer.read()), answer.headers)

    async def config(self, model: str) -> Json:
        """See Transport."""
        return await self._get(_path(model, "config"))

    async def metadata(self, model: str | None = None) -> Json:
        """See Transport."""
        return await self._get(_path(model))

    async def close(self) -> None:
        """See Transport."""
        if self.opened is not None:
            await self.opened.close()

    async def _get(self, path: str) -> Json:
        with _errors(self.url, self.timeout):
            async with self.session.get(f"{self.url}/{path}") as answer:
                return _parsed(self.url, _checked(self.url, answer.status, await answer.read()))


def _path(model: str | None, *rest: str) -> str:
    return "/".join(["v2", *(["models", model] if model else []), *rest])


def _region_path(kind: MemoryKind, name: str, action: str) -> str:
    return f"v2/{kind}sharedmemory/region/{name}/{action}"


def _packed(request: Request) -> tuple[bytes, dict[str, str]]:
    """Body and headers."""
    tensor = attach(InferInput(request.input, list(request.tensor.shape), "UINT8"), request)
    body, length = InferenceServerClient.generate_request_body([tensor], parameters=dict(request.parameters))
    if length is None:  # no tensor behind the JSON
        return body, JSON
    return body, {HEADER_LENGTH: str(length), "Content-Type": "application/octet-stream"}


def _unpacked(body: bytes, headers: Mapping[str, str]) -> Tensors:
    result = InferenceServerClient.parse_response_body(body, header_length=headers[HEADER_LENGTH])
    return {name: result.as_numpy(name) for name in OUTPUTS}


def _checked(url: str, status: int, body: bytes) -> bytes:
    """The body of a good answer."""
    if status == 200:
        return body
    message = str(_parsed(url, body).get("error", f"status {status}"))
    raise unavailable(url, message) if status == 503 else refused(message)


def _parsed(url: str, body: bytes) -> Json:
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise _stranger(url)
    return content


def _stranger(url: str) -> DetectionError:
    return DetectionError(f"something answers at {url}, but it is not Triton's HTTP: check the port")


@contextmanager
def _errors(url: str, timeout: float) -> Iterator[None]:
    try:
        yield
    except (urllib3.exceptions.NewConnectionError, aiohttp.ClientConnectorError) as error:
        raise unavailable(url, _reason(error.__cause__ or error.__context__ or error)) from None
    except (urllib3.exceptions.TimeoutError, asyncio.TimeoutError):
        raise too_late(url, timeout) from None
    except (urllib3.exceptions.HTTPError, aiohttp.ClientError) as error:
        cause = error.__cause__ or error.__context__ or error
        if isinstance(cause, TimeoutError):  # while the body was being sent
            raise too_late(url, timeout) from None
        if isinstance(cause, http.client.BadStatusLine) or isinstance(error, aiohttp.ClientResponseError):
            raise _stranger(url) from None
        raise unavailable(url, _reason(cause)) from None


def _reason(error: BaseException) -> str:
    """The operating system's words where it has some: libraries put objects and addresses around them."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)  # resolvers count below 0
    return str(error) or type(error).__name__
