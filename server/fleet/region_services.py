"""The calls of Triton's API that are about shared memory, over gRPC and HTTP, to which Envoy leads them."""

from __future__ import annotations

import json
import re
import socketserver
from collections.abc import Callable
from concurrent import futures
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict, ParseDict
from tritonclient.grpc import service_pb2, service_pb2_grpc

from triton_yolo.clients.errors import DetectionError, ServerUnavailable
from triton_yolo.clients.memory.registration import SERVICES, RegionKind
from triton_yolo.clients.protocols.base import Json
from triton_yolo.server.fleet.regions import Regions

SECONDS = 10.0  # for a request over HTTP
BODY = 1 << 20  # bytes of one
PATH = re.compile(r"/v2/(system|cuda)sharedmemory(?:/region/([^/]+))?/(register|unregister|status)")


def grpc_service(regions: Regions, path: Path) -> grpc.Server:
    """Return a started gRPC server with the calls of Triton's service that are about shared memory.

    Args:
        regions: what they are about.
        path: of the socket to listen on.
    """
    server = grpc.server(futures.ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_servicer(regions), server)
    server.add_insecure_port(f"unix:{path}")
    server.start()
    return server


def _servicer(regions: Regions) -> Any:
    def method(kind: RegionKind, action: str) -> Callable[[Any, Any], Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            fields = MessageToDict(request, preserving_proto_field_name=True)
            response = getattr(service_pb2, f"{SERVICES[kind]}{action}Response")()
            try:
                return ParseDict(_do(regions, kind, action.lower(), fields.pop("name", ""), fields), response)
            except DetectionError as error:
                gone = isinstance(error, ServerUnavailable)
                code = grpc.StatusCode.UNAVAILABLE if gone else grpc.StatusCode.INVALID_ARGUMENT
                return context.abort(code, str(error))

        return answer

    methods = {
        f"{prefix}{action}": staticmethod(method(kind, action))
        for kind, prefix in SERVICES.items()
        for action in ("Register", "Unregister", "Status")
    }
    return type("Servicer", (service_pb2_grpc.GRPCInferenceServiceServicer,), methods)()


def _do(regions: Regions, kind: RegionKind, action: str, name: str, fields: Json) -> Json:
    if action == "register":
        regions.register(kind, name, fields)
    elif action == "unregister":
        regions.unregister(kind, name)
    else:
        return regions.status(kind, name)
    return {}


def http_service(regions: Regions, path: Path) -> socketserver.BaseServer:
    """Return an HTTP server with the same calls; it is still to be run.

    Arguments are those of ``grpc_service``.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = SECONDS

        def do_GET(self) -> None:
            """Answer a question for the status."""
            self._answer({})

        def do_POST(self) -> None:
            """Answer a registration."""
            length = int(self.headers.get("Content-Length") or 0)
            if length > BODY:
                self.close_connection = True
                return self._send(400, {"error": f"{length} bytes are too many for a region's name and place"})
            try:
                fields = json.loads(self.rfile.read(length) or b"{}")
            except ValueError:
                fields = None
            if not isinstance(fields, dict):
                return self._send(400, {"error": "the body must be an object of JSON"})
            return self._answer(fields)

        def _answer(self, fields: Json) -> None:
            found = PATH.fullmatch(self.path.partition("?")[0])
            if found is None:
                return self._send(404, {"error": "Not Found"})
            kind: RegionKind = "system" if found[1] == "system" else "cuda"
            if isinstance(fields.get("raw_handle"), dict):
                fields = {**fields, "raw_handle": fields["raw_handle"].get("b64", "")}
            try:
                content = _do(regions, kind, found[3], found[2] or "", fields)
            except ServerUnavailable as error:
                return self._send(503, {"error": str(error)})
            except DetectionError as error:
                return self._send(400, {"error": str(error)})
            return self._send(200, list(content["regions"].values()) if found[3] == "status" else {})

        def _send(self, status: int, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            """Return the name of a peer, which has none."""
            return "envoy"

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return _HttpServer(str(path), Handler)


class _HttpServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a peer that went away."""
