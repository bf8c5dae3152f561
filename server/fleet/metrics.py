"""The metrics of several servers as those of one end point, told apart by the label ``server``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LABEL = "server"
# A line of Prometheus' text format: what is measured, its labels if it has some, and the value.
SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?(\s.*)$")


def merged(expositions: Mapping[str, str]) -> str:
    """Return the metrics of several servers in Prometheus' text format, each family once.

    Args:
        expositions: what each server tells, by its name; that of the empty name gets no label.
    """
    families: dict[str, list[str]] = {}
    for server, text in expositions.items():
        family = families.setdefault("", [])
        for line in text.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                family = families.setdefault(line.split(" ", 3)[2], [])
                kind = line[:7]
                if not any(known.startswith(kind) for known in family):
                    family.append(line)
            elif (sample := SAMPLE.match(line)) is not None:
                family.append(_labelled(sample, server))
    return "".join(f"{line}\n" for family in families.values() for line in family)


def _labelled(sample: re.Match[str], server: str) -> str:
    name, labels, value = sample.groups()
    own = f'{LABEL}="{server}"' if server else ""
    together = ",".join(part for part in (own, (labels or "").rstrip(",")) if part)
    return f"{name}{{{together}}}{value}" if together else f"{name}{value}"


def end_point(host: str, port: int, tell: Callable[[], str]) -> ThreadingHTTPServer:
    """Return a server that answers ``/metrics``; it is still to be run.

    Args:
        host: IP address to listen on.
        port: to listen on.
        tell: returns the metrics.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            """Answer one request."""
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            content = tell().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return _EndPoint((host, port), Handler)


class _EndPoint(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that went away."""
