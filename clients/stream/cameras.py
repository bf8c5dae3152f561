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
from typing import Any, NamedTuple

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.memory.ring import Counts, Reader, Reason, Ring, State
from triton_yolo.clients.stream.errors import CameraError, LineError
from triton_yolo.clients.stream.frames import FrameFormat
from triton_yolo.clients.stream.line import CameraConfig
from triton_yolo.clients.stream.sources import kind_of

OPEN_SECONDS = 20.0  # for a source to say what it delivers
STOP_SECONDS = 2.0  # for a source to end by itself
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0  # seconds before a source is opened anew: doubled each time
STEADY_SECONDS = 30.0  # after so long a source is taken for well again
LAST_WORDS_SECONDS = 1.0  # for what a process that has ended left in its pipes: a child of it may hold them open
LOOKS = 4  # at a camera, within the time after which it is silent

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


class End(NamedTuple):
    """How a camera's process ended.

    Attributes:
        trouble: why, in words; empty at the end of the source.
        died: whether a signal ended it, so that the source itself may be well.
    """

    trouble: str
    died: bool = False


class Camera:
    """One camera of the line.

    Attributes:
        config: as the line's file has it.
        state: "opening", "running", "waiting" to be opened anew, "ended" or "failed".
        trouble: why it was opened anew or has failed, in words; empty if it was not.
        restarts: how often it was opened anew.
        seat: where its frames are now; None before it was opened.
        old_seats: where its frames were before, as long as there are any.
        waits: whether it waits for free slots, so that its frames are never late; known once it was opened.
        comes_back: whether it may be opened later where it cannot be now; known once it was opened.
    """

    def __init__(self, config: CameraConfig) -> None:
        """Prepare; nothing is started."""
        self.config, self.state, self.trouble, self.restarts = config, "opening", "", 0
        self.seat: Seat | None = None
        self.old_seats: list[Seat] = []
        self._stop = asyncio.Event()
        self.kind = kind_of(config.uri)
        self.waits = self.comes_back = False
        self._past, self._last = Account(), Account()
        self._process: asyncio.subprocess.Process | None = None
        self._answers: asyncio.StreamReader | None = None
        self._pipe: asyncio.ReadTransport | None = None
        self._group: int | None = None
        self._log: asyncio.Future[None] | None = None
        self._format: FrameFormat | None = None
        self._silent = False

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
        self._last = whole
        return whole

    def known_account(self) -> Account:
        """Return the account, or the last one that could be read."""
        with contextlib.suppress(TimeoutError):
            return self.account()
        return self._last

    @property
    def captured(self) -> int:
        """How many frames have a number."""
        return self._past.captured + sum(int(s.ring.column_records[s.column]["captured"]) for s in self.seats)

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
            CameraError: it cannot be opened, delivers another size than it must, or was stopped meanwhile.
        """
        self.state = "opening"
        config = self.config
        try:
            await self._start()
        except OSError as error:
            raise CameraError(f"camera {self.name}: its process cannot be started: {error.strerror}", True) from None
        self._send(
            {"kind": self.kind, "uri": config.uri, "fps": config.fps, "size": config.size, "options": config.options}
        )
        answer = await self._first_answer()
        if "format" not in answer:
            await self.kill()
            died = bool(self._process and (self._process.returncode or 0) < 0 and not answer)
            again = bool(answer.get("comes_back", self.comes_back))
            raise CameraError(f"camera {self.name}: {answer.get('error') or self._died()}", again, died)
        self._format = FrameFormat(**answer["format"])
        self.waits, self.comes_back = bool(answer["waits"]), bool(answer["comes_back"])
        delivers = f"{self._format.height}x{self._format.width}"
        if config.size and self._format.height and delivers != config.size:
            await self.kill()
            raise CameraError(f"camera {self.name}: it delivers {delivers}, and its size is to be {config.size}")
        return self._format

    async def _start(self) -> None:
        """Start the process.

        Raises:
            OSError: there is no room for one more, or for its pipes.
        """
        read, write = os.pipe()
        try:
            self._answers, self._pipe = await _reader(read)
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "triton_yolo.clients.stream.camera", str(write), self.name),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(write, *self._inherited),
                start_new_session=True,  # Ctrl-C is for the line's process alone
            )
        finally:
            os.close(write)
        self._group = self._process.pid
        self._log = asyncio.ensure_future(self._pass_on(self._process.stderr))
        try:
            process = os.pidfd_open(self._group)
        except ProcessLookupError:  # it has ended already
            self._ended(None)
        else:
            asyncio.get_running_loop().add_reader(process, self._ended, process)

    def _ended(self, process: int | None) -> None:
        """End what the process has left behind: asyncio waits for all that hold its pipes."""
        self.kill_now()
        self._group = None  # the number may be another's from now on
        if process is not None:
            asyncio.get_running_loop().remove_reader(process)
            os.close(process)

    async def _first_answer(self) -> dict[str, Any]:
        """Return what the process says of its source, as soon as it does, or the camera is stopped."""
        answer, stopped = asyncio.ensure_future(self._answer()), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({answer, stopped}, timeout=OPEN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if self.stopping:
                return {"error": "it was stopped"}
            if not answer.done():
                return {"error": f"{self.config.uri} does not open within {OPEN_SECONDS:g} s", "comes_back": True}
            return answer.result()
        finally:
            for task in (answer, stopped):
                task.cancel()
            await asyncio.gather(answer, stopped, return_exceptions=True)

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
        self.seat, seat.alive, self.state, self._silent = seat, True, "running", False
        freed = seat.freed if self.waits else None
        self._send({"ring": str(seat.ring.path), "column": seat.column, "ready": ready, "freed": freed, "row": row})

    async def end(self) -> End:
        """Wait until the process ends, settle its account, and return how it ended."""
        assert self._process
        await self._process.wait()
        try:
            answer = await asyncio.wait_for(self._answer(), LAST_WORDS_SECONDS)
        except asyncio.TimeoutError:
            answer = {}
        await self._let_go()
        if self.seat:
            lost = self.seat.ring.recover(self.seat.column)
            self.seat.alive = False
            if lost:
                logger.warning("camera %s: %d frames were lost with its process", self.name, lost)
        if self._silent:
            return End(f"no frame within {self.silence:g} s", died=True)
        if answer.get("ended"):
            return End("")
        return End(str(answer.get("error") or self._died()), died=not answer and (self._process.returncode or 0) < 0)

    def _died(self) -> str:
        status = (self._process and self._process.returncode) or 0
        if status >= 0:
            return "its process ended"
        names = {one.value: one.name for one in signal.Signals}
        return f"its process was ended by {names.get(-status, f'signal {-status}')}"

    @property
    def silence(self) -> float:
        """Seconds without a frame after which it is opened anew; a slow camera has time for two frames."""
        return max(self.config.silent_after, 2 / self.config.fps if self.config.fps else 0.0)

    async def watch(self) -> None:
        """End the process when no frame has come for too long; it may be stopped or stuck."""
        assert self.seat
        record, last, looks = self.seat.ring.column_records[self.seat.column], -1, 0
        while looks < LOOKS:  # counted and not timed: where the whole machine was asleep, so was the camera
            await asyncio.sleep(self.silence / LOOKS)
            captured = int(record["captured"])
            last, looks = captured, looks + 1 if captured == last else 0
        self._silent = True
        self.kill_now()

    async def stop(self) -> None:
        """Let the source end, by force if it takes long."""
        opening = self.state == "opening"
        self._stop.set()
        if self._process and self._process.returncode is None and not opening:
            self._send("stop")
            try:
                await asyncio.wait_for(asyncio.shield(self._process.wait()), STOP_SECONDS)
            except asyncio.TimeoutError:
                await self.kill()

    async def kill(self) -> None:
        """End the process now, and wait for its end."""
        self.kill_now()
        if self._process:
            await self._process.wait()
            await self._let_go()

    def kill_now(self) -> None:
        """End the process and those that it has started, now."""
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)  # a session of its own is a group of its own

    async def _let_go(self) -> None:
        """Close what belonged to the process."""
        if self._log:
            await asyncio.wait({self._log}, timeout=LAST_WORDS_SECONDS)
            self._log.cancel()
        if self._pipe:
            self._pipe.close()

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
        while data := await stderr.read(16 * 1024):  # not by lines: one that is too long would end this
            for line in data.decode(errors="replace").splitlines():
                logger.info("camera %s: %s", self.name, line.rstrip())


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

    async def start(self, configs: Iterable[CameraConfig]) -> None:
        """Open the first cameras together, so that those of one size share a ring.

        Raises:
            LineError: one cannot be opened, and will not come back.
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
        for nbytes, group in groups.items():
            seats = self._ring(nbytes, group)
            for camera, seat in zip(group, seats, strict=True):
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
        """Stop a camera; what it has captured gets its verdicts still.

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


async def _reader(file: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """Return what reads a pipe, and what closes it."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(file, "rb", 0))
    return reader, transport
