"""The cameras of a line: each is started again when it ends, and has its place in a ring."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.memory.ring import Reader, Ring
from triton_yolo.clients.stream.accounts import Seat
from triton_yolo.clients.stream.errors import CameraError, LineError
from triton_yolo.clients.stream.frames import FrameFormat
from triton_yolo.clients.stream.line import CameraConfig
from triton_yolo.clients.stream.supervised import Camera, End

FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0  # seconds before a source is opened anew: doubled each time
STEADY_SECONDS = 30.0  # after so long a source is taken for well again

logger = logging.getLogger(__name__)

Seated = tuple[Camera, Seat]


class Cameras:
    """All cameras of a line, and their rings.

    Attributes:
        ready: eventfd that tells of frames.
    """

    def __init__(self, name: str, slots: int, huge_pages: bool, changed: Callable[[], None]) -> None:
        """Prepare; nothing is started.

        Args:
            name: name of the line.
            slots: slots of each camera.
            huge_pages: ask for pages of 2 MiB.
            changed: is called when a camera has changed its state.
        """
        self.ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._name, self._slots, self._huge, self._changed = name, slots, huge_pages, changed
        self._cameras: dict[str, Camera] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._rings: dict[str, Reader] = {}
        self._unused: dict[str, Reader] = {}
        self._made = self._changes = 0
        self._closing = False
        self._epoch = time.monotonic()

    def __iter__(self) -> Iterator[Camera]:
        """Iterate over the cameras, those that were removed and have frames left among them."""
        return iter(list(self._cameras.values()))

    def __getitem__(self, name: str) -> Camera:
        return self._cameras[name]

    @property
    def readers(self) -> list[Reader]:
        """The reader of each ring."""
        return list(self._rings.values())

    @property
    def over(self) -> bool:
        """Whether no frames will come any more: a line whose cameras were all removed waits for others."""
        if self._changes or not all(camera.over for camera in self):
            return False
        return self._closing or not all(camera.stopping for camera in self)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Keep the line from ending while its cameras are changed."""
        self._changes += 1
        try:
            yield
        finally:
            self._changes -= 1
            self._changed()

    async def start(self, configs: Iterable[CameraConfig], attach: Callable[[list[Seated]], Awaitable[None]]) -> None:
        """Open the first cameras together, so that those of one size share a ring.

        Args:
            configs: of the cameras.
            attach: tells the server of the rings, by the cameras and their seats there; no camera captures before that
                is done.

        Raises:
            LineError: one cannot be opened, and will not come back.
            DetectionError: of ``attach``.
        """
        cameras = [self._new(config) for config in configs]
        found = await asyncio.gather(*(camera.open() for camera in cameras), return_exceptions=True)
        for result in found:
            if isinstance(result, BaseException) and not (isinstance(result, CameraError) and result.again):
                await asyncio.gather(*(other.kill() for other in cameras))
                raise result
        groups: dict[int, list[Camera]] = {}
        for camera, result in zip(cameras, found, strict=True):
            if isinstance(result, FrameFormat):
                groups.setdefault(result.nbytes, []).append(camera)
            else:
                self._note(camera, "waiting", str(result))
        places = [
            place for nbytes, group in groups.items() for place in zip(group, self._ring(nbytes, group), strict=True)
        ]
        await attach(places)
        for camera, seat in places:
            camera.begin(seat, self.ready, self._row(camera))
        for camera in cameras:
            self._tasks[camera.name] = asyncio.ensure_future(self._keep(camera))

    def add(self, config: CameraConfig) -> None:
        """Add a camera while the line runs.

        Raises:
            LineError: there is one of this name that is not over, or the line ends.
        """
        if self._closing:
            raise LineError(f"camera {config.name}: the line ends")
        camera = self._cameras.get(config.name)
        if camera is None:
            camera = self._new(config)
        elif camera.over:
            camera.renew(config)
        else:
            raise LineError(f"camera {config.name}: there is one of this name")
        self._note(camera, "waiting", "")
        self._tasks[camera.name] = asyncio.ensure_future(self._keep(camera))

    async def remove(self, name: str) -> None:
        """Stop a camera; what it has captured gets its results still.

        Raises:
            LineError: there is none of this name.
        """
        if name not in self._cameras:
            raise LineError(f"camera {name}: there is none of this name; there are {', '.join(self._cameras)}")
        await self._cameras[name].stop()
        await asyncio.wait({self._tasks[name]})  # whoever gives up this wait does not end the task

    async def stop(self) -> None:
        """Stop all cameras; no more are added."""
        self._closing = True
        await asyncio.gather(*(self.remove(camera.name) for camera in self))
        self._changed()

    def tidy(self) -> list[Ring]:
        """Return each ring once when no camera uses it any more; it is to be closed by ``close_ring``."""
        for camera in self:
            if camera.over and camera.seat and not camera.seat.alive:
                camera.retire()
            camera.forget_empty()
        used = {id(seat.ring) for camera in self for seat in camera.seats}
        unused = [reader for reader in self._rings.values() if id(reader.ring) not in used]
        for reader in unused:
            self._unused[reader.ring.name] = self._rings.pop(reader.ring.name)
        return [reader.ring for reader in unused]

    def close_ring(self, ring: Ring) -> None:
        """Close a ring, and remove its file."""
        reader = self._rings.pop(ring.name, None) or self._unused.pop(ring.name, None)
        if reader:
            reader.close()
            ring.close()

    async def kill(self) -> None:
        """End all processes."""
        self._closing = True
        for camera in self:
            camera._stop.set()
            await camera.kill()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def close(self) -> None:
        """End all processes, and remove the rings."""
        await self.kill()
        for reader in (*self._rings.values(), *self._unused.values()):
            self.close_ring(reader.ring)
        for camera in self:
            for descriptor in camera.inherited[1:]:
                os.close(descriptor)
            camera.inherited = ()
        os.close(self.ready)

    def _new(self, config: CameraConfig) -> Camera:
        camera = Camera(config, (self.ready, os.eventfd(0, os.EFD_CLOEXEC)))
        self._cameras[config.name] = camera
        return camera

    def _ring(self, nbytes: int, group: list[Camera]) -> list[Seat]:
        self._made += 1
        name = self._name if self._made == 1 else f"{self._name}-{self._made}"
        ring = Ring.create(name, self._slots, len(group), nbytes, self._huge)
        freed = {column: camera.inherited[1] for column, camera in enumerate(group)}
        reader = self._rings[ring.name] = Reader(ring, freed)
        return [
            Seat(ring, reader, column, camera.account().captured, freed[column]) for column, camera in enumerate(group)
        ]

    def _row(self, camera: Camera) -> int:
        """Return the row in which the next frame lies beside those that other cameras capture at that moment."""
        return round((time.monotonic() - self._epoch) * (camera.config.fps or 0)) % self._slots

    async def _keep(self, camera: Camera) -> None:
        """Keep a camera running until it is at its end or is stopped; whatever goes wrong is its trouble alone."""
        try:
            await self._run(camera)
        except Exception as error:
            logger.exception("camera %s ends in an unexpected way", camera.name)
            await camera.kill()
            self._note(camera, "failed", f"{type(error).__name__}: {error}")

    async def _run(self, camera: Camera) -> None:
        wait = FIRST_WAIT
        while True:
            if camera.state == "running":  # also where it was stopped already: its account is settled
                began = time.monotonic()
                end = await self._watched(camera)
                if camera.stopping or not end.trouble:
                    break
                if time.monotonic() - began > STEADY_SECONDS:
                    wait = FIRST_WAIT
                if not self._is_waited_for(camera, end.trouble, end.died, wait):
                    return
            if camera.seat or camera.trouble:
                await camera.rest(wait)
                wait = min(2 * wait, LONGEST_WAIT)
                camera.restarts += not camera.stopping
            if camera.stopping:
                break
            try:
                delivers = await camera.open()
                if camera.stopping:
                    break
                seat = self._seat(camera, delivers.nbytes)
            except (LineError, DetectionError) as error:
                await camera.kill()
                if camera.stopping:
                    break
                # Room in shared memory comes back as a device does: the ring of another size is still to be removed.
                may = error.died or error.again if isinstance(error, CameraError) else True
                if not self._is_waited_for(camera, str(error), may, wait):
                    return
                continue
            camera.begin(seat, self.ready, self._row(camera))
            self._changed()
        await camera.kill()
        self._note(camera, "ended", camera.trouble)

    def _is_waited_for(self, camera: Camera, trouble: str, died: bool, wait: float) -> bool:
        """Note what has happened to a camera, and return whether it is opened again.

        Devices come back, sooner or later. What does not come back by itself, as a file, is opened again where its
        process was killed; but not for ever, since the file itself may be what kills it.
        """
        again = camera.comes_back or (died and wait < LONGEST_WAIT)
        self._note(camera, "waiting" if again else "failed", trouble)
        return again

    async def _watched(self, camera: Camera) -> End:
        """Wait for the end of a camera's process, which comes early where it is silent; files wait for their reader."""
        watch = None if camera.waits else asyncio.ensure_future(camera.watch())
        try:
            return await camera.end()
        finally:
            if watch:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)

    def _seat(self, camera: Camera, nbytes: int) -> Seat:
        """Return a place for frames of this size: the one that the camera has, if they fit.

        Raises:
            DetectionError: there is no room.
        """
        if camera.seat and nbytes > camera.seat.ring.stride:
            camera.retire()
        if camera.seat:
            return camera.seat
        [seat] = self._ring(nbytes, [camera])
        return seat

    def _note(self, camera: Camera, state: str, trouble: str) -> None:
        if trouble and trouble != camera.trouble:
            logger.warning("%s", trouble if trouble.startswith("camera ") else f"camera {camera.name}: {trouble}")
        camera.state, camera.trouble = state, trouble
        self._changed()
