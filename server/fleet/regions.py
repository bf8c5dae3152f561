"""Shared memory of clients, registered with every server: a request may reach any of them.

Envoy leads the calls about shared memory here. What a client has registered is remembered, and told to a server that
was started anew before it gets requests.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Mapping

from google.protobuf.json_format import ParseError

from triton_yolo.clients.errors import DetectionError, ServerUnavailable, UnknownRegion
from triton_yolo.clients.memory.registration import SERVICES, RegionKind, unregister
from triton_yolo.clients.protocols.address import parse_url
from triton_yolo.clients.protocols.base import Call, Json
from triton_yolo.clients.protocols.grpc import GrpcProtocol
from triton_yolo.server.process import PREFIX

SECONDS = 10.0  # for a call to a server
OWN = re.compile(rf"/*{PREFIX}\d")  # keys of what models and Triton share: whoever may write there runs code in both
MOST = 4096  # regions of all clients


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
    return contextlib.closing(GrpcProtocol(parse_url(address), SECONDS))


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
