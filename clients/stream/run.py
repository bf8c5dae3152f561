"""A line from its first frame to its report."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from triton_yolo.clients.access import Access
from triton_yolo.clients.async_detector import AsyncDetector
from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.memory.registration import unregister
from triton_yolo.clients.memory.ring import clear_leftovers
from triton_yolo.clients.protocols.base import Protocol
from triton_yolo.clients.protocols.connect import connect
from triton_yolo.clients.stream.cameras import Cameras
from triton_yolo.clients.stream.carriers import carrier
from triton_yolo.clients.stream.collector import Collector
from triton_yolo.clients.stream.control import Control
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.events import CameraStatus, Event, LineStatus
from triton_yolo.clients.stream.frames import Frame, Result
from triton_yolo.clients.stream.judge import Judge
from triton_yolo.clients.stream.line import Line, TileSettings, checked
from triton_yolo.clients.stream.pictures import Pictures
from triton_yolo.clients.stream.report import report
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.statistics import CameraStatistics
from triton_yolo.clients.stream.tiles_carrier import TilesCarrier
from triton_yolo.clients.stream.tracing import spans_of
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict
from triton_yolo.clients.stream.view import View

TIMEOUT = 30.0  # seconds, of requests beside inference
STATUS_SECONDS = 1.0  # between two events that say how the line is
DUE_SECONDS = 0.02  # between two looks for triggers that came later than their frames, or whose frames do not come
REGISTER_SECONDS = 5.0  # for the server to take notice of a ring, and to forget it

logger = logging.getLogger(__name__)


class Stream:
    """A running line.

    Attributes:
        unbalanced: what was wrong with an account; empty if all balanced.
        failed: names of cameras that ended with an error.
        report: the report, after ``run``.
        table: the same for a console.
    """

    def __init__(self, line: Line, sinks: Sequence[Sink], read_again: Callable[[], Line] | None = None) -> None:
        """Prepare.

        Args:
            line: the line.
            sinks: get each result.
            read_again: reads the line's file once more; None where there is none.
        """
        self._line, self._sinks, self._read_again = line, sinks, read_again
        self.unbalanced, self.failed, self.report = "", list[str](), dict[str, Any]()
        self.table: Any = None
        self._start = time.monotonic()
        self._jobs: set[asyncio.Task[None]] = set()
        self._reading = asyncio.Lock()
        self._judge, self._boards = Judge(line.verdict), line.verdict.boards != "frame"
        self._judges = bool(sinks) or self._boards  # whether anybody asks for verdicts
        self._judged: dict[tuple[str, int], FrameVerdict] = {}  # by camera and number, of frames whose turn is to come
        for sink in sinks:
            sink.trigger = self._judge.trigger
        self._states: dict[str, CameraStatus] = {}
        self._statistics: dict[str, CameraStatistics] = defaultdict(CameraStatistics)
        self._spans = spans_of(line.tracing, line.name)
        if self._spans:
            for sink in sinks:
                sink.traced = self._spans.written

    async def run(self, seconds: float | None, control: Path | None, shown: bool) -> None:
        """Run until the cameras are at their ends, the time is over, or a signal says so.

        Args:
            seconds: how long; None for ever.
            control: path of a socket for commands; None for none.
            shown: whether a person watches.

        Raises:
            LineError: a camera cannot be opened, or there is no room for the ring.
            DetectionError: the server cannot be reached, or refuses the ring.
        """
        line = self._line
        loop = asyncio.get_running_loop()
        async with AsyncDetector(line.url, timeout=TIMEOUT, access=Access(**dict(line.access))) as detector:
            _check_classes(line, await detector.labels("detect_frames"))  # fails here where no server answers
            registrar = connect(detector.address, REGISTER_SECONDS)
            await asyncio.to_thread(_clear, registrar)
            self._cameras = Cameras(line.name, line.slots, line.huge_pages, self._changed)
            self._pictures = Pictures(self._sinks)
            whole = carrier(line.memory, registrar, line.in_flight)
            how = TilesCarrier(registrar, whole, detector, line.name, self._tiles)
            self._collector = Collector(
                line, self._cameras, detector, how, self._statistics, self._emit, self._picture, self._spans
            )
            self._view = View(self._cameras, self._statistics, line.slots, self._boards)
            listener = Control(control, self._handle) if control else None
            try:
                await self._cameras.start(line.cameras, self._collector.attach)
                if listener:
                    await listener.open()
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.add_signal_handler(number, self._stop)
                if self._read_again:
                    loop.add_signal_handler(signal.SIGHUP, self._reload)
                elif signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # not under nohup
                    loop.add_signal_handler(signal.SIGHUP, self._stop)  # its terminal is closed
                self._start = time.monotonic()
                self._view.begin()
                if seconds is not None:
                    loop.call_later(seconds, self._stop)
                if shown:
                    self._job(self._show())
                telling = []
                if self._judges:
                    telling.append(self._job(self._tell()))
                    if line.verdict.boards == "trigger":
                        telling.append(self._job(self._look()))
                await self._collector.run()
                for job in telling:
                    job.cancel()  # sinks that close would count what comes now as missed
                self._tell_states()
                self._put_boards(self._judge.finish())
                await asyncio.gather(*(asyncio.to_thread(sink.close) for sink in self._sinks))
                if self._spans:
                    await asyncio.to_thread(self._spans.close)
                self.report = self._report()
                self.table = self._view.table(whole=True)
                self.unbalanced = self._collector.unbalanced
                self.failed = [camera.name for camera in self._cameras if camera.state == "failed"]
            finally:
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    loop.remove_signal_handler(number)  # those that were added
                self._view.close()
                if listener:
                    await listener.close()
                for job in self._jobs:
                    job.cancel()
                await asyncio.gather(*self._jobs, return_exceptions=True)
                await asyncio.to_thread(self._pictures.close)  # before the rings are
                await self._cameras.kill()
                await self._collector.detach()
                await self._cameras.close()
                registrar.close()

    def _tiles(self, camera: str) -> TileSettings | None:
        """Return how a camera's changes are sent; None if its frames are sent whole."""
        config = self._cameras[camera].config
        return config.tiles if config.transport == "tiles" else None

    def _report(self) -> dict[str, Any]:
        return report(self._cameras, self._collector, self._sinks, time.monotonic() - self._start)

    def _emit(self, result: Result) -> None:
        if self._spans:
            self._spans.emitted(result)
        if self._judges:
            verdict = self._judged.pop((result.camera, result.number), None) or self._judge.frame(result)
            self._put(verdict)
            self._put_boards(self._judge.boards(verdict))

    def _put_boards(self, verdicts: Iterable[BoardVerdict]) -> None:
        for verdict in verdicts:
            if self._boards:
                self._statistics[verdict.camera].boards[verdict.verdict] += 1
            self._put(verdict)

    def _put(self, event: Event) -> None:
        for sink in self._sinks:
            sink.put(event)

    def _picture(self, frame: Frame, result: Result, done: Callable[[], None]) -> bool:
        if not self._judges:
            return False
        self._judge.see(frame)
        verdict = self._judged[result.camera, result.number] = self._judge.frame(result)
        return self._pictures.take(frame, verdict, done)

    def _changed(self) -> None:
        self._collector.wake()
        self._tell_states()

    def _tell_states(self) -> None:
        """Tell the sinks of cameras whose state is another one now."""
        for camera in self._cameras:
            status = CameraStatus(camera.name, camera.state, camera.trouble)
            if self._states.get(camera.name) != status:
                self._states[camera.name] = status
                self._put(status)
                captured = camera.captured
                self._put_boards(self._judge.changed(camera.name, camera.state, camera.trouble, captured))

    async def _tell(self) -> None:
        """Tell the sinks how the line is."""
        while True:
            self._tell_states()
            self._put(LineStatus(self._collector.away, self._report()))
            await asyncio.sleep(STATUS_SECONDS)

    async def _look(self) -> None:
        """Tell the sinks of boards that no frame ends."""
        while True:
            self._put_boards(self._judge.due())
            await asyncio.sleep(DUE_SECONDS)

    def _job(self, work: Any) -> asyncio.Task[None]:
        job: asyncio.Task[None] = asyncio.ensure_future(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    def _stop(self) -> None:
        """Let the cameras end; what is in flight is answered."""
        self._job(self._cameras.stop())

    def _reload(self) -> None:
        self._job(self._read_line())

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(self._view.interval)
            self._view.refresh(self._collector.away)

    async def _read_line(self) -> None:
        """Read the line's file once more; only its cameras may have changed."""
        async with self._reading:  # one after the other
            with self._cameras.changing():
                await self._change_cameras()

    async def _change_cameras(self) -> None:
        assert self._read_again
        try:
            line = await asyncio.to_thread(self._read_again)
            fixed = [name for name in Line.model_fields if name != "cameras"]
            if changed := [name for name in fixed if getattr(line, name) != getattr(self._line, name)]:
                logger.warning("%s: takes effect when the line is started anew", ", ".join(changed))
            wanted = {config.name: config for config in line.cameras}
            for camera in self._cameras:
                if not camera.over and wanted.get(camera.name) != camera.config:
                    await self._cameras.remove(camera.name)
                    logger.warning("camera %s is removed", camera.name)
            # Those that have come to their end by themselves are done, unless they are others now.
            there = {
                camera.name
                for camera in self._cameras
                if not camera.over
                or (camera.state == "ended" and not camera.stopping and wanted.get(camera.name) == camera.config)
            }
            for name, config in wanted.items():
                if name not in there:
                    self._cameras.add(config)
                    logger.warning("camera %s is added", name)
        except LineError as error:
            logger.error("%s; the line goes on as it is", error)

    async def _handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request of the control socket."""
        [(what, value)] = request.items()
        if what == "report":
            return self._report()
        if what == "add" and isinstance(value, dict):
            [config] = checked({"name": "line", "cameras": [value]}, "").cameras
            self._cameras.add(config)
        elif what == "remove" and isinstance(value, str):
            await self._cameras.remove(value)
        else:
            raise LineError("send add with a camera, remove with a name, or report")
        return {"ok": True}


def _check_classes(line: Line, labels: Sequence[str]) -> None:
    """Refuse rules for classes that the server does not know, since nothing would ever fail by them.

    Raises:
        LineError: there is one.
    """
    for place, rule in enumerate(line.verdict.rules):
        if unknown := [name for name in rule.classes if name not in labels]:
            raise LineError(
                f"verdict.rules[{place}].classes: the server has no class {', '.join(unknown)}; it has "
                f"{', '.join(labels)}"
            )


def _clear(registrar: Protocol) -> None:
    """Remove the rings of lines that have died, and let the server forget them."""
    for path in clear_leftovers():
        logger.info("removed %s, whose line has died", path)
        with contextlib.suppress(DetectionError):  # it may be another server that knew it
            unregister(registrar, "system", path.name)


def run(
    line: Line,
    sinks: Sequence[Sink],
    *,
    seconds: float | None = None,
    control: Path | None = None,
    shown: bool = False,
    read_again: Callable[[], Line] | None = None,
) -> Stream:
    """Run a line, and close its sinks.

    Args:
        line: the line.
        sinks: get each result.
        seconds: how long; None for ever.
        control: path of a socket for commands; None for none.
        shown: whether a person watches.
        read_again: reads the line's file once more, at SIGHUP.

    Raises:
        LineError: a camera cannot be opened, or there is no room for the ring.
        DetectionError: the server cannot be reached, or refuses the ring.
    """
    stream = Stream(line, sinks, read_again)
    # Until the line runs, which hears them: as Ctrl-C, so that its processes and its memory are cleared away, and what
    # would make it read its file once more is nothing yet.
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, signal.default_int_handler)}
    if read_again:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: None)
    try:
        asyncio.run(stream.run(seconds, control, shown))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for sink in sinks:
            with contextlib.suppress(Exception):
                sink.close()
    return stream


__all__ = ["DetectionError", "Stream", "run"]
