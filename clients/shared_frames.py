"""What all frames have in common that the server reads where they are: registration, and its end."""

from __future__ import annotations

import logging
import math
import os
import time
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

from triton_yolo.clients.errors import DetectionError, RegionInUse, ServerUnavailable
from triton_yolo.clients.frames import Frames, Shape
from triton_yolo.clients.region import Region
from triton_yolo.clients.transport import Json, MemoryKind, Transport

IN_USE_SECONDS = 10.0  # how long to wait for a server that still works on a request which was given up
RETRY_SECONDS = 0.05

logger = logging.getLogger(__name__)


class SharedFrames(Frames):
    """Frames in memory that the server has mapped.

    They are unregistered and given back by ``close``, when nobody refers to them any more, and when the program ends;
    the server may have gone by then.
    """

    kind: ClassVar[MemoryKind]
    demands: ClassVar[str]  # what the server must be like, for those whose memory it refuses

    def __init__(
        self, shape: Shape, transport: Transport, name: str, view: Any, fields: Json, free: Callable[[], None]
    ) -> None:
        """Take over the memory and register it.

        Args:
            shape: count, height, width, 3.
            transport: to the server.
            name: for the server.
            view: of the memory; see Frames.
            fields: what the server needs to find it.
            free: gives the memory back; must not refer to this object.

        Raises:
            DetectionError: the server does not take it, which frees it.
        """
        super().__init__(shape, name, view)
        self._transport, self._fields = transport, fields
        self._release = weakref.finalize(self, _release, transport, self.kind, name, free, os.getpid())
        try:
            self.register()
        except BaseException:
            self.close()
            raise

    def register(self) -> None:
        """Make the memory known to the server; again where another server has taken the place of the first.

        Raises:
            DetectionError: the server does not take it, in its words and with what to check.
        """
        try:
            self._transport.register(self.kind, self.name, self._fields)
        except ServerUnavailable:
            raise
        except DetectionError as error:
            raise DetectionError(f"{error}; transport '{self.kind}' needs {self.demands}") from None

    def part(self, shape: tuple[int, ...]) -> Region:
        """See Frames."""
        self._settle()
        return Region(self.name, math.prod(shape), 0, shape)

    def _settle(self) -> None:
        """Wait until everything that was written is there for other processes."""
        _ = self._opened

    def close(self) -> None:
        """See Frames."""
        super().close()
        self._release()


def _release(transport: Transport, kind: MemoryKind, name: str, free: Callable[[], None], owner: int) -> None:
    if os.getpid() != owner:
        return  # a fork has the object too, but not the memory
    try:
        _unregister(transport, kind, name)
    finally:
        free()


def _unregister(transport: Transport, kind: MemoryKind, name: str) -> None:
    end = time.monotonic() + IN_USE_SECONDS
    while True:
        try:
            transport.unregister(kind, name)
            return
        except RegionInUse as error:
            if time.monotonic() > end:
                logger.warning("the server keeps shared memory until it ends: %s", error)
                return
            time.sleep(RETRY_SECONDS)
        except DetectionError as error:  # the server has gone, and the region with it, or has never taken it
            logger.info("cannot unregister %s: %s", name, error)
            return
