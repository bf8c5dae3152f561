"""One server of several: a thread starts it, watches it, and starts it again when it has died."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from triton_yolo.errors import TritonYoloError
from triton_yolo.server.errors import ServerError
from triton_yolo.server.fleet.envoy_clusters import Endpoint
from triton_yolo.server.process import Addresses, TritonServer, free_addresses

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds before a new start; doubled after each server that did not stay
STAYED = 30.0  # seconds after which a server counts as one that works
FAILED_STARTS = 8  # in a row, and it is left out
READY_SECONDS = 600.0  # for a start: eight of them share the cores
LOOK = 0.2  # seconds between two looks at the server
HUNG_SECONDS = 30.0  # without an answer to a question for life, and it is killed

logger = logging.getLogger(__name__)


class Member:
    """One server of a fleet, as a thread that keeps it alive.

    Attributes:
        name: of the server, "0" and so on.
        server: that runs now; None between two.
        admitted: whether it is ready and gets new requests.
        known: whether Envoy is to know it: it gets requests, or finishes those that it has.
        starts: how often a server was started.
        error: why the last one ended, or did not start; empty at first.
        given_up: whether none will be started any more.
        ready: is set when the first server is ready, or will never be.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[Addresses], TritonServer],
        teach: Callable[[str, Callable[[], None]], None],
        changed: Callable[[], None],
    ) -> None:
        """Prepare; nothing is started.

        Args:
            name: of the server.
            make: returns the server, not yet started, for addresses.
            teach: prepares a server, HOST:PORT, that is ready, and then calls what admits it.
            changed: is called when the server has become ready, or is no longer.
        """
        self.name, self._make, self._teach, self._changed = name, make, teach, changed
        self.addresses = free_addresses()
        self.server: TritonServer | None = None
        self.admitted, self.known, self.given_up = False, False, False
        self.starts, self.error = 0, ""
        self.ready = threading.Event()
        self._settled, self._was_ready = False, False
        self._stop, self._renew = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"server {name}")

    @property
    def endpoint(self) -> Endpoint:
        """The server, as Envoy knows it."""
        return Endpoint(self.name, self.addresses.host, self.addresses.grpc, self.addresses.http, self.admitted)

    @property
    def grpc(self) -> str:
        """HOST:PORT of the server's own gRPC."""
        return f"{self.addresses.host}:{self.addresses.grpc}"

    def start(self) -> None:
        """Start the thread, which starts the server."""
        self._thread.start()

    def settle(self) -> None:
        """From now on start the server again when it ends; until then, an end is the end."""
        self._settled = True

    def drain(self) -> None:
        """Take no new requests, and finish those that it has."""
        if self.admitted:
            self._admit(False, self.known)

    def renew(self) -> None:
        """End the server, after the requests that it has, and start it again at once; ``ready`` says when it is."""
        self.ready.clear()
        self._renew.set()

    def stop(self) -> None:
        """End the server, after the requests that it has, for good; ``join`` waits for that."""
        self._stop.set()
        self._renew.set()

    def join(self) -> None:
        """Wait until nothing of it is left."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        failed, pause = 0, FIRST_PAUSE
        while not self._stop.is_set():
            self._renew.clear()
            begun, self._was_ready = time.monotonic(), False
            try:
                self._serve()
                pause, failed = FIRST_PAUSE, 0
            except TritonYoloError as error:
                if self._stop.is_set():
                    break
                self.error = str(error)
                if self._was_ready and time.monotonic() - begun > STAYED:
                    pause = FIRST_PAUSE
                failed = 0 if self._was_ready else failed + 1
                if not self._settled:
                    break
                if failed >= FAILED_STARTS:
                    logger.error("server %s: %s; it is left out", self.name, error)
                    break
                logger.warning("server %s: %s; started again in %.1f s", self.name, error, pause)
                self._stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        self.given_up = True
        self.ready.set()

    def _serve(self) -> None:
        """Run one server until it is to end.

        Raises:
            TritonYoloError: it did not start, or has ended by itself.
        """
        self.starts += 1
        with self._make(self._own_addresses()) as server:
            try:
                if not self._becomes_ready(server):
                    return
                self.server, self._was_ready = server, True
                self._teach(self.grpc, lambda: self._admit(True, True))
                self.ready.set()
                self._watch(server)
            finally:  # before its end: Envoy closes its connections, which Triton waits for
                self._admit(False, False)
                self.server = None

    def _own_addresses(self) -> Addresses:
        """Return the ports that the server had, or others where somebody has taken one."""
        try:
            self.addresses.check_free()
        except ServerError:
            self.addresses = replace(free_addresses(), host=self.addresses.host)
        return self.addresses

    def _becomes_ready(self, server: TritonServer) -> bool:
        """Wait until it is ready; returns False where it is to end before."""
        end = time.monotonic() + READY_SECONDS
        while not server.becomes_ready():
            if time.monotonic() > end:
                raise ServerError(f"tritonserver was not ready after {READY_SECONDS:.0f} s: {server.complaint()}")
            if self._stop.wait(LOOK / 2):
                return False
        return True

    def _watch(self, server: TritonServer) -> None:
        """Return when the server is to end.

        Raises:
            ServerError: it can answer no more.
        """
        answered = looked = time.monotonic()
        while not (self._renew.wait(LOOK) or self._stop.is_set()):
            if (why := server.broken()) is not None:
                raise ServerError(why)
            now = time.monotonic()
            if now - looked < HUNG_SECONDS / 10:
                continue
            looked = now
            if server.lives(seconds=2.0):
                answered = time.monotonic()
            elif now - answered > HUNG_SECONDS:
                server.kill()
                raise ServerError(f"tritonserver has not answered for {now - answered:.0f} s, and was killed")

    def _admit(self, admitted: bool, known: bool) -> None:
        if (self.admitted, self.known) != (admitted, known):
            self.admitted, self.known = admitted, known
            self._changed()
