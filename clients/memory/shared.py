"""What all frames in shared memory have in common: registration with the server, and its end."""

from __future__ import annotations

import logging
import math
import os
import secrets
import time
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

from triton_yolo.clients.errors import DetectionError, RegionInUse
from triton_yolo.clients.memory.frames import Frames, Shape
from triton_yolo.clients.memory.registration import RegionKind, register, unregister
from triton_yolo.clients.protocols.base import Json, Protocol
from triton_yolo.clients.request import SharedTensor

PREFIX = "triton-yolo-frames-"  # of names on the server and in /dev/shm; process id and random digits follow
IN_USE_SECONDS = 10.0  # how long to wait for a server that still works on a request which was given up
RETRY_SECONDS = 0.05

logger = logging.getLogger(__name__)


class SharedFrames(Frames):
    """Frames in memory that the server has mapped.

    They are unregistered and freed by ``close``, when nothing refers to them any more, and when the program ends; the
    server may be gone by then.
    """

    kind: ClassVar[RegionKind]

    def __init__(
        self, shape: Shape, protocol: Protocol, name: str, view: Any, fields: Json, free: Callable[[], None]
    ) -> None:
        """Take over the memory; ``register`` is still to be called.

        Args:
            shape: count, and the shape of a frame.
            protocol: protocol to the server.
            name: name of the memory on the server.
            view: view of the memory; see Frames.
            fields: what the server needs to find the memory; see ``registration``.
            free: frees the memory; must not refer to this object.
        """
        super().__init__(shape, name, view)
        self._protocol, self._fields = protocol, fields
        self._release = weakref.finalize(self, _release, protocol, self.kind, name, free, os.getpid())

    def register(self) -> None:
        """Register the memory with the server, or with one that was started in its place.

        Raises:
            DetectionError: the server refuses, in its words and with what to check.
        """
        register(self._protocol, self.kind, self.name, self._fields)

    def part(self, shape: tuple[int, ...]) -> SharedTensor:
        """See Frames."""
        self._settle()
        return SharedTensor(self.name, math.prod(shape), 0, shape)

    def _settle(self) -> None:
        """Wait until other processes see everything that was written."""
        _ = self._opened

    def close(self) -> None:
        """See Frames."""
        super().close()
        self._release()


def unique_name() -> str:
    """Return a name that no other client has, nor one that was killed and whose region the server still has."""
    return f"{PREFIX}{os.getpid()}-{secrets.token_hex(8)}"


def _release(protocol: Protocol, kind: RegionKind, name: str, free: Callable[[], None], owner: int) -> None:
    if os.getpid() != owner:
        return  # a fork has the object too, but not the memory
    try:
        _unregister(protocol, kind, name)
    finally:
        free()


def _unregister(protocol: Protocol, kind: RegionKind, name: str) -> None:
    end = time.monotonic() + IN_USE_SECONDS
    while True:
        try:
            unregister(protocol, kind, name)
            return
        except RegionInUse as error:
            if time.monotonic() > end:
                logger.warning("the server keeps shared memory until it ends: %s", error)
                return
            time.sleep(RETRY_SECONDS)
        except DetectionError as error:  # the server is gone, and the region with it, or it never took the region
            logger.info("cannot unregister %s: %s", name, error)
            return
