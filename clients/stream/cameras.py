"""The cameras of a line: a process for each, started again when it ends, and its place in a ring."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from triton_yolo.clients.memory.ring import Counts, Reader, Reason, Ring, State
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.frames import FrameFormat
from triton_yolo.clients.stream.line import CameraConfig
from triton_yolo.clients.stream.sources import kind_of, source_class

OPEN_SECONDS = 20.0  # for a source to say what it delivers
STOP_SECONDS = 2.0  # for a source to end by itself
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0  # seconds before a source is opened anew: doubled each time
STEADY_SECONDS = 30.0  # after so long a source is taken for well again

logger = logging.getLogger(__name__)


@dataclass
class Seat:
    """A column of a ring, for one camera.

    Attributes:
        ring: the ring.
        reader: its reader.
        column: the column.
        base: frames that the camera had captured when it took this seat: its numbers go on.
        freed: eventfd that tells the camera of freed slots.
        alive: whether a process writes there, or died so lately that its account is not settled.
    """

    ring: Ring
    reader: Reader
    column: int
    base: int
    freed: int
    alive: bool = False

    def counts(self) -> Counts:
        """Return the account of the column."""
        return self.ring.counts(self.column)

    @property
    def taken(self) -> int:
        """How many of its slots are taken."""
        return int((self.ring.slot_records[:, self.column]["state"] == State.TAKEN).sum())


@dataclass
class Account:
    """What became of a camera's frames, in all of its seats.

    Attributes:
        captured: frames that have a number.
        answered: frames that were inspected in time.
        dropped: frames that were not, by reason.
        in_flight: frames that are in the ring.
    """

    captured: int = 0
    answered: int = 0
    dropped: Counter[Reason] = field(default_factory=Counter)
    in_flight: int = 0

    def add(self, counts: Counts) -> None:
        """Add the account of a seat."""
        self.captured += counts.captured
        self.answered += counts.answered
        self.dropped.update(counts.dropped)
        self.in_flight += counts.in_flight

    @property
    def missing(self) -> int:
        """How many captured frames are nowhere."""
        return self.captured - self.answered - sum(self.dropped.values()) - self.in_flight


class Camera:
    """One camera of the line.

    Attributes:
        config: as the line's file has it.
        state: "opening", "running", "waiting" to be opened anew, "ended" or "failed".
        trouble: why it was opened anew or has failed, in words; empty if it was not.
        restarts: how often it was opened anew.
        seat: where its frames are now; None before it was opened.
        old_seats: where its frames were before, as long as there are any.
    """

    def __init__(self, config: CameraConfig) -> None:
        """Prepare; nothing is started."""
        self.config, self.state, self.trouble, self.restarts = config, "opening", "", 0
        self.seat: Seat | None = None
        self.old_seats: list[Seat] = []
        self._stop = asyncio.Event()
        self.kind = kind_of(config.uri)
        self._past = Account()
        self._process: asyncio.subprocess.Process | None = None
        self._answers: asyncio.StreamReader | None = None
        self._format: FrameFormat | None = None
        self._waits = False

    def renew(self, config: CameraConfig) -> None:
        """Begin again after the end, with another configuration; the numbers of frames go on."""
        self.config, self.kind, self.trouble = config, kind_of(config.uri), ""
        self._stop.clear()
        self.retire()

    @property
    def name(self) -> str:
        """Name of the camera."""
        return self.config.name

    @property
    def format(self) -> FrameFormat | None:
        """What it delivers; None before it was opened."""
        return self._format

    @property
    def waits(self) -> bool:
        """Whether it waits for slots, as files do: its frames are never late."""
        return self._waits

    @property
    def comes_back(self) -> bool:
        """Whether it may be opened later where it cannot be now."""
        return source_class(self.kind).comes_back

    @property
    def over(self) -> bool:
        """Whether no frames will come any more."""
        return self.state in ("ended", "failed")

    @property
    def stopping(self) -> bool:
        """Whether it was stopped."""
        return self._stop.is_set()

    async def rest(self, seconds: float) -> None:
        """Wait so long, or until it is stopped."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    @property
    def seats(self) -> list[Seat]:
        """All seats with frames in them, the oldest first."""
        return [*self.old_seats, *([self.seat] if self.seat else [])]

    def account(self) -> Account:
        """Return what became of its frames.

        Raises:
            TimeoutError: its process died in the middle of a change, and is not yet recovered.
        """
        whole = Account(self._past.captured, self._past.answered, Counter(self._past.dropped))
        for seat in self.seats:
            whole.add(seat.counts())
        return whole

    def lost(self) -> Counter[Reason]:
        """Return how many frames its processes have dropped, by reason."""
        lost = Counter({reason: self._past.dropped[reason] for reason in (Reason.RING_FULL, Reason.SOURCE_LOST)})
        for seat in self.seats:
            by_writer = seat.ring.column_records[seat.column]["dropped_by_writer"]
            lost.update({reason: int(by_writer[reason]) for reason in lost})
        return lost

    def retire(self) -> None:
        """Leave the seat; it is kept until its last frame has a verdict."""
        if self.seat:
            self.old_seats.append(self.seat)
            self.seat = None

    def forget_empty(self) -> list[Seat]:
        """Add up the seats that were left and are empty, and return them."""
        empty = [seat for seat in self.old_seats if not seat.alive and not seat.counts().in_flight]
        for seat in empty:
            self._past.add(seat.counts())
            self.old_seats.remove(seat)
        return empty

    async def open(self) -> FrameFormat:
        """Start the process, and return what the source delivers.

        Raises:
            LineError: it cannot be opened, or delivers another size than it must.
        """
        self.state = "opening"
        read, write = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "triton_yolo.clients.stream.camera", str(write)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(write, *self._inherited),
                start_new_session=True,  # Ctrl-C is for the line's process alone
            )
        finally:
            os.close(write)
        self._answers = await _reader(read)
        self._log = asyncio.ensure_future(self._pass_on(self._process.stderr))
        config = self.config
        options = dict(config.options)
        if config.size and "size" in source_class(self.kind).known_options():
            options.setdefault("size", config.size)
        self._send({"kind": self.kind, "uri": config.uri, "fps": config.fps, "options": options})
        try:
            answer = await asyncio.wait_for(self._answer(), OPEN_SECONDS)
        except asyncio.TimeoutError:
            answer = {"error": f"{config.uri} does not open within {OPEN_SECONDS:g} s"}
        if "format" not in answer:
            await self.kill()
            raise LineError(f"camera {self.name}: {answer.get('error') or 'its process ended'}")
        self._format, self._waits = FrameFormat(**answer["format"]), bool(answer["waits"])
        delivers = f"{self._format.height}x{self._format.width}"
        if config.size and self._format.height and delivers != config.size:
            await self.kill()
            raise LineError(f"camera {self.name}: it delivers {delivers}, and its size is to be {config.size}")
        return self._format

    _inherited: tuple[int, ...] = ()

    def inherit(self, descriptors: tuple[int, ...]) -> None:
        """Say which descriptors the process gets."""
        self._inherited = descriptors

    def begin(self, seat: Seat, ready: int, row: int) -> None:
        """Let the source deliver into a seat.

        Args:
            seat: the seat.
            ready: eventfd that is to be told of frames.
            row: row of the next frame.
        """
        self.seat, seat.alive, self.state = seat, True, "running"
        freed = seat.freed if self._waits else None
        self._send({"ring": str(seat.ring.path), "column": seat.column, "ready": ready, "freed": freed, "row": row})

    async def end(self) -> str:
        """Wait until the process ends, settle its account, and return why it ended; empty at the end of the source."""
        assert self._process
        answer = await self._answer()
        await self._process.wait()
        await self._log
        if self.seat:
            lost = self.seat.ring.recover(self.seat.column)
            self.seat.alive = False
            if lost:
                logger.warning("camera %s: %d frames were lost with its process", self.name, lost)
        if answer.get("ended"):
            return ""
        status = self._process.returncode or 0
        died = f"its process was ended by {signal.Signals(-status).name}" if status < 0 else "its process ended"
        return str(answer.get("error") or died)

    async def stop(self) -> None:
        """Let the source end, by force if it takes long."""
        self._stop.set()
        if self._process and self._process.returncode is None:
            self._send("stop")
            try:
                await asyncio.wait_for(asyncio.shield(self._process.wait()), STOP_SECONDS)
            except asyncio.TimeoutError:
                await self.kill()

    async def kill(self) -> None:
        """End the process now."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def _send(self, content: Any) -> None:
        assert self._process and self._process.stdin
        with contextlib.suppress(OSError, RuntimeError):  # it has ended: its answer says why
            self._process.stdin.write(f"{json.dumps(content)}\n".encode())

    async def _answer(self) -> dict[str, Any]:
        assert self._answers
        line = await self._answers.readline()
        return json.loads(line) if line.endswith(b"\n") else {}

    async def _pass_on(self, stderr: asyncio.StreamReader | None) -> None:
        """Log what the process and its libraries say."""
        assert stderr
        while line := await stderr.readline():
            logger.info("camera %s: %s", self.name, line.decode(errors="replace").rstrip())


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
        self._made = 0
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
        """Whether no frames will come any more."""
        return all(camera.over for camera in self)

    async def start(self, configs: Iterable[CameraConfig]) -> None:
        """Open the first cameras together, so that those of one size share a ring.

        Raises:
            LineError: one cannot be opened, and will not come back.
        """
        cameras = [self._new(config) for config in configs]
        found = await asyncio.gather(*(camera.open() for camera in cameras), return_exceptions=True)
        for camera, result in zip(cameras, found, strict=True):
            if isinstance(result, BaseException) and not (isinstance(result, LineError) and camera.comes_back):
                await asyncio.gather(*(other.kill() for other in cameras))
                raise result
        groups: dict[int, list[Camera]] = {}
        for camera, result in zip(cameras, found, strict=True):
            if isinstance(result, FrameFormat):
                groups.setdefault(result.nbytes, []).append(camera)
            else:
                self._note(camera, "waiting", str(result))
        for nbytes, group in groups.items():
            seats = self._ring(nbytes, group)
            for camera, seat in zip(group, seats, strict=True):
                camera.begin(seat, self.ready, self._row(camera))
        for camera in cameras:
            self._tasks[camera.name] = asyncio.ensure_future(self._keep(camera))

    def add(self, config: CameraConfig) -> None:
        """Add a camera while the line runs.

        Raises:
            LineError: there is one of this name that is not over.
        """
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
        """Stop a camera; what it has captured gets its verdicts still.

        Raises:
            LineError: there is none of this name.
        """
        if name not in self._cameras:
            raise LineError(f"camera {name}: there is none of this name; there are {', '.join(self._cameras)}")
        await self._cameras[name].stop()
        await self._tasks[name]

    async def stop(self) -> None:
        """Stop all cameras."""
        await asyncio.gather(*(self.remove(camera.name) for camera in self))

    def tidy(self) -> list[Ring]:
        """Return the rings that no camera uses any more; they are closed by ``close_ring``."""
        for camera in self:
            camera.forget_empty()
        used = {id(seat.ring) for camera in self for seat in camera.seats}
        return [reader.ring for reader in self._rings.values() if id(reader.ring) not in used]

    def close_ring(self, ring: Ring) -> None:
        """Close a ring, and remove its file."""
        reader = self._rings.pop(ring.name, None)
        if reader:
            reader.close()
            ring.close()

    async def close(self) -> None:
        """End all processes, and remove the rings."""
        for camera in self:
            camera._stop.set()
            await camera.kill()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for reader in self.readers:
            self.close_ring(reader.ring)
        for camera in self:
            for descriptor in camera._inherited[1:]:
                os.close(descriptor)
            camera.inherit(())
        os.close(self.ready)

    def _new(self, config: CameraConfig) -> Camera:
        camera = Camera(config)
        camera.inherit((self.ready, os.eventfd(0, os.EFD_CLOEXEC)))
        self._cameras[config.name] = camera
        return camera

    def _ring(self, nbytes: int, group: list[Camera]) -> list[Seat]:
        self._made += 1
        name = self._name if self._made == 1 else f"{self._name}-{self._made}"
        ring = Ring.create(name, self._slots, len(group), nbytes, self._huge)
        freed = {column: camera._inherited[1] for column, camera in enumerate(group)}
        reader = self._rings[ring.name] = Reader(ring, freed)
        return [
            Seat(ring, reader, column, camera.account().captured, freed[column]) for column, camera in enumerate(group)
        ]

    def _row(self, camera: Camera) -> int:
        """Return the row in which the next frame lies beside those that other cameras capture at that moment."""
        return round((time.monotonic() - self._epoch) * (camera.config.fps or 0)) % self._slots

    async def _keep(self, camera: Camera) -> None:
        """Keep a camera running until it is at its end or is stopped."""
        wait = FIRST_WAIT
        while True:
            began = time.monotonic()
            if camera.state == "running":
                watch = asyncio.ensure_future(self._watch(camera)) if camera.comes_back else None
                trouble = await camera.end()
                if watch:
                    watch.cancel()
                    trouble = camera.trouble if watch.done() and not watch.cancelled() else trouble
                if camera.stopping or not trouble:
                    break
                if not camera.comes_back:
                    self._note(camera, "failed", trouble)
                    return
                self._note(camera, "waiting", trouble)
            if camera.stopping:
                break
            if time.monotonic() - began > STEADY_SECONDS:
                wait = FIRST_WAIT
            if camera.seat or camera.trouble:
                await camera.rest(wait)
                wait = min(2 * wait, LONGEST_WAIT)
                camera.restarts += 1
            if camera.stopping:
                break
            try:
                delivers = await camera.open()
            except LineError as error:
                if camera.stopping:
                    break
                self._note(camera, "waiting" if camera.comes_back else "failed", str(error))
                if camera.over:
                    return
                continue
            if camera.seat and delivers.nbytes > camera.seat.ring.stride:
                camera.retire()
            try:
                [seat] = [camera.seat] if camera.seat else self._ring(delivers.nbytes, [camera])
            except LineError as error:
                await camera.kill()
                self._note(camera, "failed", str(error))
                return
            camera.begin(seat, self.ready, self._row(camera))
            self._changed()
        self._note(camera, "ended", camera.trouble)

    async def _watch(self, camera: Camera) -> None:
        """Open a camera anew that has been silent for too long."""
        last = -1
        while camera.seat:
            await asyncio.sleep(camera.config.silent_after)
            captured = int(camera.seat.ring.column_records[camera.seat.column]["captured"])
            if captured == last:
                camera.trouble = f"no frame within {camera.config.silent_after:g} s"
                await camera.kill()
                return
            last = captured

    def _note(self, camera: Camera, state: str, trouble: str) -> None:
        if trouble and trouble != camera.trouble:
            logger.warning("%s", trouble if trouble.startswith("camera ") else f"camera {camera.name}: {trouble}")
        camera.state, camera.trouble = state, trouble
        self._changed()


async def _reader(file: int) -> asyncio.StreamReader:
    """Return what reads a pipe."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(file, "rb", 0))
    return reader
