"""Several servers behind one address, kept alive, and replaced one by one where that is asked for."""

from __future__ import annotations

import contextlib
import functools
import http.client
import logging
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from triton_yolo.clients.memory.registration import RegionKind
from triton_yolo.server.errors import ServerError
from triton_yolo.server.fleet import metrics
from triton_yolo.server.fleet.access import AccessFiles
from triton_yolo.server.fleet.envoy import ADMIN, Envoy, Seen, find_envoy
from triton_yolo.server.fleet.envoy_clusters import Files, pipe
from triton_yolo.server.fleet.envoy_config import bootstrap
from triton_yolo.server.fleet.member import FIRST_PAUSE, LONGEST_PAUSE, Member
from triton_yolo.server.fleet.parts import Part
from triton_yolo.server.fleet.region_services import grpc_service, http_service
from triton_yolo.server.fleet.regions import Regions
from triton_yolo.server.limits import SHARED_MEMORY
from triton_yolo.server.process import EXIT_SECONDS, Addresses, TritonServer, own_name, remove, sweep
from triton_yolo.server.runtimes.base import Arithmetic

LOOK = 0.1  # seconds between two looks at what is waited for
SEEN_SECONDS = 30.0  # for Envoy to see what has changed
ENVOY_STAYED = 30.0
OPEN = AccessFiles()

logger = logging.getLogger(__name__)


class Fleet:
    """Several servers, Envoy before them, and one end point for metrics; a context manager.

    Servers listen on ports of 127.0.0.1 of their own; Envoy listens on the addresses that clients know.

    Attributes:
        members: the servers.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        addresses: Addresses,
        make: Callable[[Part, Addresses, Arithmetic], TritonServer],
        arithmetic: Arithmetic = "auto",
        log: Callable[[str], None] = lambda line: None,
        shared_memory: bool = True,
        access: AccessFiles = OPEN,
    ) -> None:
        """Prepare; nothing is started.

        Args:
            parts: one for each server.
            addresses: where Envoy and the metrics are.
            make: returns a server, not yet started.
            arithmetic: what networks compute in; with "auto", all servers take what the first one has chosen.
            log: takes each line that Envoy writes.
            shared_memory: whether clients may register shared memory.
            access: who is let in.
        """
        self.addresses, self.arithmetic, self._make_server = addresses, arithmetic, make
        self._gpus = [part.gpu for part in parts if part.gpu is not None]
        self.regions = Regions(self._admitted, self._refused(shared_memory))
        self.members = [
            Member(str(number), functools.partial(self._make, part), self.regions.teach, self._tell)
            for number, part in enumerate(parts)
        ]
        self._envoy_log, self._telling = log, threading.Lock()
        self._envoy_begun, self._envoy_pause = 0.0, FIRST_PAUSE
        self._name = own_name()
        self._access, self._access_seen = access, access.changed
        self._ends: list[Callable[[], object]] = []

    def _refused(self, shared_memory: bool) -> dict[RegionKind, str]:
        """Return why clients cannot register memory of some kinds."""
        if not shared_memory:
            why = "clients may not register shared memory here: `triton-yolo serve --shared-memory` lets them"
            return {"system": why, "cuda": why}
        if len(self._gpus) < 2:
            return {}
        why = "frames in the memory of a GPU are for the server of that GPU alone, and this address is that of "
        remedy = "servers: connect to that server itself; `triton-yolo serve` prints its address"
        return {"cuda": f"{why}{len(self._gpus)} {remedy}"}

    def _make(self, part: Part, addresses: Addresses) -> TritonServer:
        return self._make_server(part, addresses, self.arithmetic)

    def _admitted(self) -> list[str]:
        return [member.grpc for member in self.members if member.admitted]

    def __enter__(self) -> Fleet:
        """Start everything; ``wait_until_ready`` says when it can be used.

        Raises:
            ServerError: Envoy is not installed, an address cannot be had, or a file for the access cannot be used.
        """
        find_envoy()
        admitted = self._access.read()
        self.host = _ip(self.addresses.host)
        self.addresses.check_free()
        sweep()
        # Sockets have short paths, which the folder for temporary files need not have.
        self.folder = Path(tempfile.mkdtemp(prefix=self._name, dir=SHARED_MEMORY))
        self.envoy = Envoy(self.folder, self._envoy_log)
        try:
            self._serve_metrics()
            self._serve_regions()
            self._tell()
            self.envoy.admit(admitted)
            self._start_envoy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _serve_metrics(self) -> None:
        self._run(metrics.end_point(self.metrics_host, self.addresses.metrics, self.metrics))

    def _serve_regions(self) -> None:
        service = grpc_service(self.regions, self.folder / "control-grpc.sock")
        self._ends.append(lambda: service.stop(None).wait())
        self._run(http_service(self.regions, self.folder / "control-http.sock"))

    def _run(self, server: Any) -> None:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self._ends += [server.server_close, thread.join, server.shutdown]

    def _start_envoy(self) -> None:
        control = {kind: pipe(f"{self.folder}/control-{kind}.sock") for kind in ("grpc", "http")}
        config = bootstrap(
            self.host,
            self.addresses.grpc,
            self.addresses.http,
            Files(str(self.folder)),
            len(self.members),
            pipe(f"{self.folder}/{ADMIN}"),
            control,
            doors=self._access.doors(self.folder),
        )
        self._envoy_begun = time.monotonic()
        self.envoy.start(config)

    def _tell(self) -> None:
        """Tell Envoy which servers get requests."""
        with self._telling:
            self.envoy.tell([member.endpoint for member in self.members if member.known])

    def wait_until_ready(self) -> None:
        """Block until all servers are ready and Envoy sends them requests.

        The first one chooses what the networks compute in; the others follow, so that all answer alike.

        Raises:
            ServerError: one did not start; with its reason.
        """
        first, *others = self.members
        first.start()
        self._wait_for([first])
        if self.arithmetic == "auto" and first.server is not None:
            chosen = {proved.arithmetic for proved in first.server.proved().values()}
            if len(chosen) == 1:
                self.arithmetic = "int8" if chosen == {"int8"} else "float"
        for member in others:
            member.start()
        self._wait_for(others)
        self._wait_for_envoy()
        for member in self.members:
            member.settle()

    def _wait_for(self, members: Sequence[Member]) -> None:
        for member in members:
            while not member.ready.wait(LOOK):
                self._check_envoy()
            if member.given_up:
                raise ServerError(member.error)

    def _wait_for_envoy(self) -> None:
        self._wait_until(lambda seen: all(self._healthy(seen, member) for member in self.members), SEEN_SECONDS)

    @property
    def metrics_host(self) -> str:
        """Where the metrics are: for this machine alone where clients have to show who they are."""
        return "127.0.0.1" if self._access else self.host

    @staticmethod
    def _healthy(seen: dict[str, Seen], member: Member) -> bool:
        return member.name in seen and seen[member.name].healthy

    def _wait_until(self, condition: Callable[[dict[str, Seen]], bool], seconds: float) -> bool:
        """Return whether Envoy sees something within a time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._check_envoy()
            with contextlib.suppress(OSError, http.client.HTTPException):
                if condition(self.envoy.sees([member.endpoint for member in self.members])):
                    return True
            time.sleep(LOOK)
        return False

    def _check_envoy(self) -> None:
        """Start Envoy again where it has ended.

        Raises:
            ServerError: it ended at once; with its reason.
        """
        if (why := self.envoy.ended) is None:
            return
        lived = time.monotonic() - self._envoy_begun
        if lived < FIRST_PAUSE or self._envoy_pause >= LONGEST_PAUSE:
            raise ServerError(why)
        logger.warning("%s; started again in %.1f s", why, self._envoy_pause)
        time.sleep(self._envoy_pause)
        self._envoy_pause = FIRST_PAUSE if lived > ENVOY_STAYED else 2 * self._envoy_pause
        self._start_envoy()

    def watch(self) -> None:
        """Look after what has no keeper of its own; to be called every second or so.

        Raises:
            ServerError: no server is left, or Envoy does not stay.
        """
        self._check_envoy()
        self._check_access()
        if all(member.given_up for member in self.members):
            raise ServerError(f"no server is left: {self.members[-1].error}")

    def _check_access(self) -> None:
        """Tell Envoy of certificates and keys that have changed; where they cannot be used, the old ones hold."""
        if (seen := self._access.changed) == self._access_seen:
            return
        self._access_seen = seen
        try:
            self.envoy.admit(self._access.read())
        except ServerError as error:
            logger.error("%s; what was read before holds", error)
        else:
            logger.warning("certificates and keys have been read again")

    def renew(self) -> None:
        """Start every server again, one after the other, while the others answer.

        Raises:
            ServerError: Envoy does not stay, or a server does not start again.
        """
        for member in self.members:
            if member.given_up:
                continue
            logger.warning("server %s is being started again", member.name)
            member.drain()
            self._wait_until(lambda seen, name=member.name: _idle(seen, name), EXIT_SECONDS)  # type: ignore[misc]
            member.renew()
            self._wait_for([member])
            self._wait_until(lambda seen, one=member: self._healthy(seen, one), SEEN_SECONDS)  # type: ignore[misc]
        logger.warning("all servers have been started again")

    def metrics(self) -> str:
        """Return the metrics of all servers, and of Envoy, in Prometheus' text format."""
        told = {}
        for member in self.members:
            address = f"http://{member.addresses.host}:{member.addresses.metrics}/metrics"
            own = f"triton_yolo_server_up {int(member.admitted)}\ntriton_yolo_server_starts_total {member.starts}\n"
            with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=2) as answer:
                own += answer.read().decode()
            told[member.name] = f"{OWN}{own}"
        with contextlib.suppress(OSError, http.client.HTTPException):
            told[""] = self.envoy.figures()
        return metrics.merged(told)

    def __exit__(self, *_: object) -> None:
        """End everything: first no new requests, then the servers with what they have, then Envoy."""
        for member in self.members:
            member.drain()
        for member in self.members:
            member.stop()
        for member in self.members:
            member.join()
        for end in reversed(self._ends):
            end()
        self.envoy.stop()
        remove(self._name)


OWN = (
    "# HELP triton_yolo_server_up Whether the server gets requests\n"
    "# TYPE triton_yolo_server_up gauge\n"
    "# HELP triton_yolo_server_starts_total How often the server was started\n"
    "# TYPE triton_yolo_server_starts_total counter\n"
)


def _idle(seen: dict[str, Seen], name: str) -> bool:
    return name not in seen or (seen[name].draining and not seen[name].active)


def _ip(host: str) -> str:
    """Return the IP address of a host.

    Raises:
        ServerError: it has none.
    """
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError:
        raise ServerError(f"--host {host} is no address of this machine") from None
