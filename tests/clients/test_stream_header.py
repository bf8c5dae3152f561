"""Requests of a stream carry its name where a proxy sees it."""

from __future__ import annotations

import asyncio
import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2_grpc

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.protocols.address import parse_url
from triton_yolo.clients.protocols.connect import connect, connect_async
from triton_yolo.clients.request import FRAMES, Request
from triton_yolo.clients.stream.encoder import Place
from triton_yolo.clients.stream.tile_request import KEY_POSITION, Content, tile_request
from triton_yolo.contract import STREAM_HEADER

FRAME = np.zeros((1, 4, 4, 3), np.uint8)
OF_STREAM = tile_request(Place("line 1/Käfer", 1, 0), Content(KEY_POSITION, FRAME), {})
ALONE = Request(FRAMES, "frames", FRAME)


class Proxy(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Sees the headers of each call, and refuses it."""

    def __init__(self) -> None:
        self.seen: list[str | None] = []

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> None:
        self.seen.append(dict(context.invocation_metadata()).get(STREAM_HEADER))
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")


@contextmanager
def over_grpc() -> Iterator[tuple[str, list[str | None]]]:
    proxy, server = Proxy(), grpc.server(ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(proxy, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", proxy.seen
    server.stop(None).wait()


@contextmanager
def over_http() -> Iterator[tuple[str, list[str | None]]]:
    seen: list[str | None] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.headers.get(STREAM_HEADER))
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"error": "no"}'
            self.send_response(400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
        server.shutdown()


@pytest.mark.parametrize("way", [over_grpc, over_http], ids=["gRPC", "HTTP"])
def test_the_name_of_the_stream_is_a_header_and_nothing_is_without_one(way: Any) -> None:
    async def ask(url: str) -> None:
        protocol = connect_async(parse_url(url), 10)
        for request in (OF_STREAM, ALONE):
            with pytest.raises(DetectionError, match="no"):
                await protocol.infer(request)
        await protocol.close()

    with way() as (url, seen):
        protocol = connect(parse_url(url), 10)
        for request in (OF_STREAM, ALONE):
            with pytest.raises(DetectionError, match="no"):
                protocol.infer(request)
        protocol.close()
        asyncio.run(ask(url))
    assert seen == ["line%201/K%C3%A4fer", None] * 2
