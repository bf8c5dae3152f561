"""Shared memory of clients, registered with every server: a request may reach any of them.

Envoy leads the calls about shared memory here. What a client has registered is remembered, and told to a server that
was started anew before it gets requests.
"""

from __future__ import annotations

import contextlib
import json
import re
import socketserver
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from tritonclient.grpc import service_pb2, service_pb2_grpc

from triton_yolo.clients.errors import DetectionError, ServerUnavailable, UnknownRegion
from triton_yolo.clients.memory.registration import SERVICES, RegionKind, unregister
from triton_yolo.clients.protocols.base import Call, Json
from triton_yolo.clients.protocols.grpc import GrpcProtocol
from triton_yolo.server.process import PREFIX

SECONDS = 10.0  # for a call to a server
OWN = re.compile(rf"/*{PREFIX}\d")  # keys of what models and Triton share: whoever may write there runs code in both
MOST = 4096  # regions of all clients
BODY = 1 << 20  # bytes of a request over HTTP
PATH = re.compile(r"/v2/(system|cuda)sharedmemory(?:/region/([^/]+))?/(register|unregister|status)")


class Regions:
    """What clients have registered, for any number of threads."""

    def __init__(self, addresses: Callable[[], Iterable[str]], refused: Mapping[RegionKind, str]) -> None:
        """Prepare.

        Args:
            addresses: returns HOST:PORT of gRPC of the servers that take requests.
            refused: why memory of a kind cannot be registered; kinds that can are not there.
        """
        self._addresses, self._refused = addresses, refused
        self._known: dict[tuple[RegionKind, str], Json] = {}
        self._lock = threading.Lock()

    def register(self, kind: RegionKind, name: str, fields: Json) -> None:
        """Register a region with every server, or with none.

        Raises:
            DetectionError: a server refuses, in its words.
        """
        with self._lock:
            if kind in self._refused:
                raise DetectionError(self._refused[kind])
            if OWN.match(str(fields.get("key", ""))):
                raise DetectionError("this memory is the servers' own, and none of a client's")
            if (kind, name) in self._known:
                raise DetectionError(f"shared memory region '{name}' already in manager")
            if len(self._known) >= MOST:
                raise DetectionError(f"{MOST} regions of shared memory are registered, and no more can be: close some")
            took: list[str] = []
            try:
                for address in self._ready():
                    with contextlib.suppress(ServerUnavailable):  # it has just ended; the next one is taught
                        _register(address, kind, name, fields)
                        took.append(address)
            except DetectionError:
                for address in took:
                    _forget(address, kind, name)
                raise
            if not took:
                raise ServerUnavailable("no server is ready")
            self._known[kind, name] = fields

    def unregister(self, kind: RegionKind, name: str) -> None:
        """Make every server forget a region, or all of a kind where the name is empty.

        Raises:
            RegionInUse: a request of one of them still reads it.
        """
        with self._lock:
            for address in self._ready():
                with contextlib.suppress(ServerUnavailable), _protocol(address) as protocol:
                    unregister(protocol, kind, name)
            for known in [known for known in self._known if known[0] == kind and name in ("", known[1])]:
                del self._known[known]

    def status(self, kind: RegionKind, name: str) -> Json:
        """Return what is registered, as Triton's gRPC tells it.

        Raises:
            UnknownRegion: there is no region of that name.
        """
        with self._lock:
            found = {
                known[1]: {"name": known[1], **fields} for known, fields in self._known.items() if kind == known[0]
            }
        if name and name not in found:
            raise UnknownRegion(f"Unable to find shared memory region: '{name}'")
        return {"regions": {name: found[name]} if name else found}

    def teach(self, address: str, admit: Callable[[], None]) -> None:
        """Register with a new server what the others have, and then admit it.

        A region whose client is gone is forgotten.

        Args:
            address: HOST:PORT of the server.
            admit: makes ``addresses`` return it too.
        """
        with self._lock:
            for (kind, name), fields in list(self._known.items()):
                try:
                    _register(address, kind, name, fields)
                except ServerUnavailable:
                    break  # it has ended, which its keeper finds out
                except DetectionError:
                    del self._known[kind, name]
                    for other in self._addresses():
                        _forget(other, kind, name)
            admit()

    def _ready(self) -> list[str]:
        found = list(self._addresses())
        if not found:
            raise ServerUnavailable("no server is ready")
        return found


def _protocol(address: str) -> contextlib.closing[GrpcProtocol]:
    """Return a connection to one server for one call."""
    return contextlib.closing(GrpcProtocol(address, SECONDS))


def _register(address: str, kind: RegionKind, name: str, fields: Json) -> None:
    with _protocol(address) as protocol:
        try:
            protocol.call(Call(f"{SERVICES[kind]}Register", {"name": name, **fields}, ""))
        except ParseError as error:  # of what came over HTTP
            raise DetectionError(f"the place of the region cannot be read: {error}") from None


def _forget(address: str, kind: RegionKind, name: str) -> None:
    # A request still reads it, or the server is gone: nobody names it any more.
    with contextlib.suppress(DetectionError), _protocol(address) as protocol:
        unregister(protocol, kind, name)


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
