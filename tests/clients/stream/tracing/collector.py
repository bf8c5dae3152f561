"""A collector that takes OTLP over HTTP, as protobuf or as JSON, and keeps what arrives."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Arrived:
    """A span; times are nanoseconds since 1970, ids are hexadecimal."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    begin: int
    end: int
    about: dict[str, Any]
    links: tuple[str, ...]
    failed: bool


class Collector:
    """Listens until it is left.

    Attributes:
        spans: what has arrived.
        url: where it listens.
    """

    def __init__(self) -> None:
        self.spans: list[Arrived] = []
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                spans.extend(_of_json(body) if "json" in self.headers["Content-Type"] else _of_protobuf(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def __enter__(self) -> Collector:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def named(self, name: str) -> list[Arrived]:
        """Return the spans of a name."""
        return [span for span in list(self.spans) if span.name == name]

    def below(self, span: Arrived) -> list[Arrived]:
        """Return the spans whose parent is this one."""
        return [one for one in list(self.spans) if (one.trace, one.parent) == (span.trace, span.id)]


def _of_protobuf(body: bytes) -> list[Arrived]:
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    return [
        Arrived(
            _values(part.resource.attributes)["service.name"],
            span.name,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            _values(span.attributes),
            tuple(link.span_id.hex() for link in span.links),
            span.status.code == span.status.STATUS_CODE_ERROR,
        )
        for part in request.resource_spans
        for scope in part.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def _of_json(body: bytes) -> list[Arrived]:
    return [
        Arrived(
            {one["key"]: one["value"].get("stringValue") for one in part["resource"]["attributes"]}["service.name"],
            span["name"],
            span["traceId"],
            span["spanId"],
            span.get("parentSpanId", ""),
            int(span["startTimeUnixNano"]),
            int(span["endTimeUnixNano"]),
            {},
            (),
            False,
        )
        for part in json.loads(body)["resourceSpans"]
        for scope in part["scopeSpans"]
        for span in scope["spans"]
    ]
