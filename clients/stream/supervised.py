"""One camera of a line: its process, which is opened, watched and ended, and the seats of its frames."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections import Counter
from typing import Any, NamedTuple

from triton_yolo.clients.memory.ring import CAPTURED, DROPPED_BY_WRITER, Reason
from triton_yolo.clients.stream.accounts import Account, Seat
from triton_yolo.clients.stream.errors import CameraError
from triton_yolo.clients.stream.frames import FrameFormat
from triton_yolo.clients.stream.line import CameraConfig
from triton_yolo.clients.stream.sources import kind_of

OPEN_SECONDS = 20.0  # for a source to say what it delivers
STOP_SECONDS = 2.0  # for a source to end by itself
LAST_WORDS_SECONDS = 1.0  # for what a process that has ended left in its pipes: a child of it may hold them open
LOOKS = 4  # at a camera, within the time after which it is silent

logger = logging.getLogger(__name__)


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
        inherited: descriptors that its processes get.
    """

    def __init__(self, config: CameraConfig, inherited: tuple[int, ...] = ()) -> None:
        """Prepare; nothing is started.

        Args:
            config: as the line's file has it.
            inherited: descriptors that its processes get.
        """
        self.inherited = inherited
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
        self._published = self._copied = 0

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
    def copies(self) -> float | None:
        """How often a frame was copied on the host before it was in the ring; None until a process has said so."""
        return round(self._copied / self._published, 2) if self._published else None

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
        return self._past.captured + sum(seat.ring.account(seat.column)[CAPTURED] for seat in self.seats)

    def lost(self) -> Counter[Reason]:
        """Return how many frames its processes have dropped, by reason."""
        lost = Counter({reason: self._past.dropped[reason] for reason in (Reason.RING_FULL, Reason.SOURCE_LOST)})
        for seat in self.seats:
            words = seat.ring.account(seat.column)
            lost.update({reason: words[DROPPED_BY_WRITER + reason] for reason in lost})
        return lost

    def retire(self) -> None:
        """Leave the seat; it is kept until its last frame has a result."""
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
                pass_fds=(write, *self.inherited),
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
        self._published += int(answer.get("published", 0))
        self._copied += int(answer.get("copied", 0))
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
        words, last, looks = self.seat.ring.account(self.seat.column), -1, 0
        while looks < LOOKS:  # counted and not timed: where the whole machine was asleep, so was the camera
            await asyncio.sleep(self.silence / LOOKS)
            last, looks = words[CAPTURED], looks + 1 if words[CAPTURED] == last else 0
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


async def _reader(file: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """Return what reads a pipe, and what closes it."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(file, "rb", 0))
    return reader, transport
