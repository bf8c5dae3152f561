"""Makes requests of what the cameras have captured, and gives each frame its result.

Nobody polls: the collector sleeps until a frame is ready, an answer has come, a camera has changed its state, or the
next frame becomes late. Each time it looks at the rings as they are, so nothing depends on a signal that was missed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from triton_yolo.clients.async_detector import AsyncDetector
from triton_yolo.clients.base import stops_everything
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.errors import DetectionError, RegionInUse, ServerBusy, UnknownRegion
from triton_yolo.clients.memory.ring import Capture, Reason, Ring
from triton_yolo.clients.pixel_formats import PIXEL_FORMATS
from triton_yolo.clients.protocols.calls import model_config
from triton_yolo.clients.request import request_parameters
from triton_yolo.clients.stream.accounts import Seat
from triton_yolo.clients.stream.cameras import Cameras
from triton_yolo.clients.stream.carriers import Carrier, Parcel, Slot
from triton_yolo.clients.stream.frames import ENCODED, FORMATS, STATES, Frame, Result, ResultState
from triton_yolo.clients.stream.line import Line
from triton_yolo.clients.stream.order import Order
from triton_yolo.clients.stream.statistics import CameraStatistics
from triton_yolo.clients.stream.supervised import Camera
from triton_yolo.clients.stream.window import Window

if TYPE_CHECKING:
    from triton_yolo.clients.stream.tracing.spans import Spans

FIRST_SECONDS = 30.0  # longest wait for the first answer
PRIORITY = 1  # of a line's frames, which go before what others send without one
GRACE = 0.25  # seconds that an answer may take longer than the deadline before the request is given up
UNREADABLE_SECONDS = 0.5  # between two looks at an account that is in the middle of a change
FORGET_ATTEMPTS, FORGET_SECONDS = 5, 0.3  # to have a ring forgotten that the server reads still, and between them
PROBE_SECONDS = 0.5  # between two questions whether the server is back
CHECK_SECONDS = 0.001  # from a change to the look at the accounts: what is sent goes first

logger = logging.getLogger(__name__)

Ready = tuple[Seat, list[Capture]]  # frames that wait in a seat, the oldest first


class Collector:
    """Between the rings and the server.

    Attributes:
        away: why the server is away, in its client's words; empty if it is there.
        unbalanced: what was wrong with an account, the first time that one did not balance; empty if all did.
        checks: how often all accounts were compared.
        requests: how many were sent.
        copies: how often a frame is copied between the ring and the server.
        statistics: of each camera, by name.
    """

    def __init__(
        self,
        line: Line,
        cameras: Cameras,
        detector: AsyncDetector,
        carrier: Carrier,
        statistics: dict[str, CameraStatistics],
        emit: Callable[[Result], None],
        keep: Callable[[Frame, Result, Callable[[], None]], bool] = lambda *_: False,
        spans: Spans | None = None,
    ) -> None:
        """Prepare.

        Args:
            line: settings.
            cameras: the cameras.
            detector: to the server.
            carrier: how frames reach it.
            statistics: of each camera, by name, made where there are none; counts what becomes of frames.
            emit: is called with each result, in order for each camera.
            keep: is called with each frame that was taken, and its result; where it returns True, the frame stays in
                its slot until the function that it got is called, which it may be in any thread.
            spans: traces frames; None where nothing is traced.
        """
        self._line, self._cameras, self._detector, self._carrier = line, cameras, detector, carrier
        self.away, self.unbalanced, self.checks = "", "", 0
        self.requests, self.copies = 0, carrier.copies
        self.statistics = statistics
        self._orders: dict[str, Order] = defaultdict(lambda: Order(emit))
        self._spans = spans
        self._keep, self._kept = keep, set[tuple[str, int]]()  # frames that have a result, and are needed still
        self._seen: dict[str, int] = {}  # the highest number of each camera that was taken once, and 1
        self._lost: dict[str, Counter[Reason]] = defaultdict(Counter)  # frames that never came here, judged so far
        self._held: dict[tuple[str, int], tuple[Seat, Frame]] = {}  # frames that were taken, by camera and number
        self._window = Window(line.window_ms)
        self._ticks: set[asyncio.Task[None]] = set()
        self._probe: asyncio.Task[None] | None = None
        self._attached: dict[str, int] = {}  # rings that the server knows: the number of that registration
        self._attaching: dict[str, asyncio.Task[None]] = {}
        self._detaching: set[asyncio.Task[bool]] = set()
        self._registrations = 0
        self._unreadable: dict[str, float] = {}  # until when an account is left alone that could not be read
        self._deadline = int(line.deadline_ms * 1e6)
        self._done = False  # whether ``run`` has ended
        self._moved = False  # whether a frame was taken or released since the last check
        self._awake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._checking: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Let the collector look at the rings."""
        self._awake.set()

    async def run(self) -> None:
        """Work until all cameras are at their ends and each of their frames has a result."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._cameras.ready, self._told)
        try:
            while True:
                self._awake.clear()
                self._step()
                if self._cameras.over and not self._ticks and not self._kept and not self._ready():
                    break
                await self._awake.wait()
        finally:
            loop.remove_reader(self._cameras.ready)
            for timer in (self._timer, self._checking):
                if timer:
                    timer.cancel()
            self._done = True
            tasks = (*self._ticks, *([self._probe] if self._probe else []))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._finish()

    async def attach(self, places: Sequence[tuple[Camera, Seat]]) -> None:
        """Tell the server of the rings that there are, and let it find something in them once, before a frame comes.

        The first request of a kind takes longer than others, by half a second where a pipeline is built for it.

        Args:
            places: the cameras that will begin, and their seats.

        Raises:
            DetectionError: it refuses the rings, or is away.
        """
        await self._attach([reader.ring for reader in self._cameras.readers])
        for parcel in self._carrier.parcels(_samples(places), {}):
            try:
                await asyncio.wait_for(parcel.ask(self._detector), FIRST_SECONDS)
            except (DetectionError, asyncio.TimeoutError) as error:
                logger.info("the first request was not answered, and frames will tell why: %s", error)
            finally:
                self._carrier.done(parcel)

    async def detach(self) -> None:
        """Let the server forget all rings; one that does not answer is asked once."""
        await asyncio.gather(*self._attaching.values(), *self._detaching, return_exceptions=True)
        ask = True
        for reader in self._cameras.readers:
            ask = await self._detach(reader.ring, ask)
        self._carrier.close()

    def _told(self) -> None:
        os.eventfd_read(self._cameras.ready)
        self._awake.set()

    def _step(self) -> None:
        """Send what can be sent now, and see to it that this is called again in time."""
        loop = asyncio.get_running_loop()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        ready = self._ready()
        self._find_lost(ready)
        waiting = self._drop(ready)
        late_ns = [
            captures[0].monotonic_ns + self._deadline
            for name, (_, captures) in waiting.items()
            if not self._cameras[name].waits
        ]
        wake_ns = min(late_ns, default=None)
        if waiting and not self.away and len(self._ticks) < self._line.in_flight:
            now = time.monotonic_ns()
            behind = any(len(captures) > 1 for _, captures in waiting.values())
            pause = 0 if behind else self._window.wait_ns(now, waiting.keys())
            if pause:
                wake_ns = now + pause
            elif self._send(waiting):
                loop.call_soon(self._awake.set)  # look again, once these are on their way: there may be more
        if self._moved:
            self._moved = False
            self._checking = self._checking or loop.call_later(CHECK_SECONDS, self._check)
        for ring in self._cameras.tidy():
            job = asyncio.ensure_future(self._detach(ring))
            self._detaching.add(job)
            job.add_done_callback(self._detaching.discard)
        if wake_ns is not None:
            seconds = max(0.0, (wake_ns - time.monotonic_ns()) / 1e9)
            self._timer = loop.call_later(seconds, self._awake.set)

    def _ready(self) -> dict[str, list[Ready]]:
        """Return the frames that are ready, by camera and seat, the oldest first."""
        found: dict[tuple[str, int], list[Capture]] = {}
        for reader in self._cameras.readers:
            for capture in reader.ready():
                found.setdefault((reader.ring.name, capture.column), []).append(capture)
        ready: dict[str, list[Ready]] = {}
        now = time.monotonic_ns()
        for camera in self._cameras if found else ():
            for seat in camera.seats:
                captures = found.get((seat.ring.name, seat.column))
                if captures:
                    for capture in captures:
                        self._window.captured(camera.name, capture.monotonic_ns, now)
                        if self._spans:
                            self._spans.seen(camera.name, seat.base + capture.number, capture.monotonic_ns, now)
                    ready.setdefault(camera.name, []).append((seat, captures))
        return ready

    def _find_lost(self, ready: dict[str, list[Ready]]) -> None:
        """Settle the frames whose numbers were left out: their camera's process has counted why.

        What comes before a frame that was taken is ready, taken or lost: a slot that was ready a moment ago is no
        proof, since the camera may be writing its next frame there. So is everything once the process has ended.
        """
        for camera in self._cameras:
            end = self._seen.get(camera.name, 0)
            if not any(seat.alive for seat in camera.seats):
                end = camera.captured
                self._window.forget(camera.name)
            if self._orders[camera.name].next < end:
                present = [seat.base + c.number for seat, captures in ready.get(camera.name, ()) for c in captures]
                self._lose(camera, end, present)

    def _lose(self, camera: Camera, end: int, present: list[int]) -> None:
        held = [number for name, number in self._held if name == camera.name]
        for number in self._orders[camera.name].unknown(end, [*present, *held]):
            reason = self._why_lost(camera)
            self._judge(Result(camera.name, number, STATES[reason], reason.words))

    def _why_lost(self, camera: Camera) -> Reason:
        """Return a reason that the process has counted more often than there are results with it."""
        told, counted = self._lost[camera.name], camera.lost()
        for reason in (Reason.RING_FULL, Reason.SOURCE_LOST):
            if counted[reason] > told[reason]:
                told[reason] += 1
                return reason
        return Reason.SOURCE_LOST

    def _drop(self, ready: dict[str, list[Ready]]) -> dict[str, Ready]:
        """Drop what is late, what a camera has outrun, and everything while the server is away; return the rest."""
        now, left = time.monotonic_ns(), dict[str, Ready]()
        for name, (seat, captures) in ((name, one) for name, seats in ready.items() for one in seats):
            camera = self._cameras[name]
            if camera.waits and not (self.away and camera.stopping):
                old, why = [], Reason.LATE  # files have time
            elif self.away:
                old, why = captures, Reason.SERVER_AWAY
            else:
                keep = [c for c in captures if now - c.monotonic_ns < self._deadline]
                keep = keep[-1:] if len(keep) > self._line.backlog else keep
                old, why = [c for c in captures if c not in keep], Reason.LATE
            for capture in old:
                frame = self._take(name, seat, capture)
                if frame:
                    self._release(frame, why)
            if rest := [c for c in captures if c not in old]:
                left.setdefault(name, (seat, rest))
        return left

    def _take(self, camera: str, seat: Seat, capture: Capture) -> Frame | None:
        if not seat.reader.take(capture):
            return None
        numbered = capture._replace(number=seat.base + capture.number)
        frame = Frame(camera, numbered, FORMATS[capture.format], Slot(seat.ring, capture))
        self._held[camera, numbered.number] = (seat, frame)
        self._moved = True
        self._seen[camera] = max(self._seen.get(camera, 0), numbered.number + 1)
        if self._spans:
            self._spans.taken(camera, numbered.number, time.monotonic_ns())
        self.statistics[camera].seen(capture.nbytes)
        return frame

    def _send(self, waiting: dict[str, Ready]) -> bool:
        """Send the oldest frame of each camera, as one tick, and return whether there was one.

        There is none where the cameras have taken them back, or where as many are held as may be.
        """
        taken = [self._take(name, seat, captures[0]) for name, (seat, captures) in waiting.items()]
        frames = [frame for frame in taken if frame]
        if frames:
            task = asyncio.ensure_future(self._tick(frames))
            self._ticks.add(task)
            task.add_done_callback(self._ticked)
        return bool(frames)

    def _ticked(self, task: asyncio.Task[None]) -> None:
        self._ticks.discard(task)
        self._awake.set()

    async def _tick(self, frames: list[Frame]) -> None:
        """Send frames, and give each its result."""
        frames = [frame for frame in frames if self._has_a_shape(frame)]
        if not frames:
            return
        now = time.monotonic_ns()
        begins = [now if self._waits(frame) else frame.capture.monotonic_ns for frame in frames]
        end = min(begins) + self._deadline
        try:
            rings = [self._held[frame.camera, frame.capture.number][0].ring for frame in frames]
            if any(ring.name not in self._attached for ring in rings):
                await asyncio.wait_for(self._attach(rings), max(0.0, (end - now) / 1e9) + GRACE)
            left = max(0.001, (end - time.monotonic_ns()) / 1e9)
            parameters = request_parameters(self._line.score_threshold, None, PRIORITY, left)
            parcels = self._carrier.parcels(frames, parameters)
        except Exception as error:
            self._fail(frames, error)
            return
        self.requests += len(parcels)
        await asyncio.gather(*(self._ask(parcel, left) for parcel in parcels))

    def _has_a_shape(self, frame: Frame) -> bool:
        """Refuse a frame that cannot be sent, and none of those beside it."""
        try:
            _ = frame.shape
        except DetectionError as error:
            self._fail([frame], error)
            return False
        return True

    async def _ask(self, parcel: Parcel, seconds: float) -> None:
        sent = time.monotonic_ns()
        try:
            with self._spans.request(parcel.frames) if self._spans else nullcontext():
                answer = await asyncio.wait_for(self._infer(parcel), seconds + GRACE)
            parcel.count(self.statistics)
            now = time.monotonic_ns()
            for frame, detections in zip(parcel.frames, answer, strict=True):
                self._answered(frame, detections, sent, now, parcel)
        except Exception as error:
            self._fail(parcel.frames, error)
        finally:
            self._carrier.done(parcel)

    async def _infer(self, parcel: Parcel) -> list[Detections]:
        rings = [self._held[frame.camera, frame.capture.number][0].ring for frame in parcel.frames]
        known = {ring.name: self._attached.get(ring.name) for ring in rings}
        try:
            return await parcel.ask(self._detector)
        except UnknownRegion:  # the server was started anew
            for name, registration in known.items():
                if self._attached.get(name) == registration:  # else another request has seen to it meanwhile
                    self._attached.pop(name, None)
            await self._attach(rings)
            return await parcel.ask(self._detector)

    async def _attach(self, rings: list[Ring]) -> None:
        for ring in {ring.name: ring for ring in rings}.values():
            if ring.name not in self._attached:
                job = self._attaching.get(ring.name)
                if job is None:
                    job = self._attaching[ring.name] = asyncio.ensure_future(self._register(ring))
                    job.add_done_callback(lambda done: done.cancelled() or done.exception())  # somebody has seen it
                await asyncio.shield(job)  # of all requests that wait for it

    async def _register(self, ring: Ring) -> None:
        try:
            await asyncio.to_thread(self._carrier.attach, ring)
            self._registrations += 1
            self._attached[ring.name] = self._registrations
        finally:
            del self._attaching[ring.name]

    async def _detach(self, ring: Ring, ask: bool = True) -> bool:
        """Let a ring go that nobody uses any more, and return whether the server took notice.

        Args:
            ring: the ring.
            ask: whether the server is told.
        """
        known, told = self._attached.pop(ring.name, None), True
        try:
            if known and ask and not self.away:
                await self._forget(ring)
        except DetectionError as error:
            logger.info("the server keeps %s until it ends: %s", ring.name, error)
            told = False
        finally:
            self._cameras.close_ring(ring)
        return told

    async def _forget(self, ring: Ring) -> None:
        for _ in range(FORGET_ATTEMPTS - 1):
            try:
                return await asyncio.to_thread(self._carrier.detach, ring)
            except RegionInUse:  # by a request that came too late, and was given up
                await asyncio.sleep(FORGET_SECONDS)
        return await asyncio.to_thread(self._carrier.detach, ring)

    def _fail(self, frames: Sequence[Frame], error: Exception) -> None:
        """Settle those frames that have no result."""
        away = isinstance(error, DetectionError) and stops_everything(error)
        # It waited in a queue of the server for as long as it might, or it was not answered.
        late = isinstance(error, asyncio.TimeoutError) or (isinstance(error, ServerBusy) and error.timed_out)
        if not (late or isinstance(error, DetectionError)):
            logger.error("a request failed in an unexpected way", exc_info=error)
        now = time.monotonic_ns()
        for frame in frames:
            if (frame.camera, frame.capture.number) not in self._held:
                continue
            if late or (isinstance(error, ServerBusy) and self._is_late(frame, now)):
                self._release(frame, Reason.LATE)
            else:
                self._release(frame, Reason.SERVER_AWAY if away else Reason.REFUSED, str(error) or repr(error))
        if away and not self.away:
            self.away = str(error)
            logger.warning("%s; frames are dropped until it is back", error)
            self._probe = asyncio.ensure_future(self._wait_for_server())

    def _is_late(self, frame: Frame, now: int) -> bool:
        return now - frame.capture.monotonic_ns > self._deadline and not self._waits(frame)

    def _waits(self, frame: Frame) -> bool:
        """Whether a frame's camera has time."""
        return self._cameras[frame.camera].waits

    async def _wait_for_server(self) -> None:
        while not self._done:  # before Python 3.12 wait_for can lose a cancellation
            await asyncio.sleep(PROBE_SECONDS)
            try:
                # Not what the detector remembers: the models are loaded after the port is open, and may be others.
                await asyncio.wait_for(self._detector.protocol.call(model_config("detect_frames")), 2.0)
                self._detector.forget_models()
                break
            except (DetectionError, asyncio.TimeoutError):
                continue
        logger.warning("the server is back")
        self.away, self._probe = "", None
        self._awake.set()

    def _answered(self, frame: Frame, detections: Detections, sent: int, now: int, parcel: Parcel) -> None:
        if self._is_late(frame, now):
            self._release(frame, Reason.LATE)
        else:
            latency_ms = (now - frame.capture.monotonic_ns) / 1e6
            self._release(frame, None, "", latency_ms, detections, sent, parcel)

    def _release(
        self,
        frame: Frame,
        reason: Reason | None,
        words: str = "",
        latency_ms: float | None = None,
        detections: Detections | None = None,
        sent: int = 0,
        parcel: Parcel | None = None,
    ) -> None:
        """Pass a frame's result on, and give its slot back once nobody needs it."""
        number, capture = frame.capture.number, frame.capture
        seat, _ = self._held.pop((frame.camera, number))
        why = "" if reason is None else f"{reason.words}: {words}" if words else reason.words
        result = Result(
            frame.camera,
            number,
            ResultState.INSPECTED if reason is None else STATES[reason],
            why,
            capture.wall_ns,
            capture.monotonic_ns,
            (capture.height, capture.width) if capture.height else None,
            latency_ms,
            detections,
            sent,
            *((parcel.age, parcel.sent) if parcel else ()),
        )
        loop = asyncio.get_running_loop()

        def done() -> None:
            loop.call_soon_threadsafe(self._kept_long_enough, frame, seat, reason)

        if self._keep(frame, result, done):
            self._kept.add((frame.camera, number))
        else:
            self._give_back(frame, seat, reason)
        self._judge(result)

    def _kept_long_enough(self, frame: Frame, seat: Seat, reason: Reason | None) -> None:
        self._kept.remove((frame.camera, frame.capture.number))
        self._give_back(frame, seat, reason)
        self._awake.set()

    def _give_back(self, frame: Frame, seat: Seat, reason: Reason | None) -> None:
        """Give a frame's slot back, and count the frame."""
        seat.reader.release(frame.capture._replace(number=frame.capture.number - seat.base), reason)
        self._moved = True

    def _judge(self, result: Result) -> None:
        self.statistics[result.camera].judged(result)
        self._orders[result.camera].add(result)

    def _check(self) -> None:
        """Compare captured with answered, dropped and in flight, and the ring's words with what is held here."""
        self._checking = None
        held = Counter(name for name, _ in (*self._held, *self._kept))
        for camera in self._cameras:
            if any(seat.alive for seat in camera.seats) and camera.state != "running":
                continue  # its process has just died: what it had is settled first
            if time.monotonic() < self._unreadable.get(camera.name, 0.0):
                continue
            try:
                missing = camera.account().missing
            except TimeoutError:  # its process was interrupted in a change, or has died: finding that out takes long
                self._unreadable[camera.name] = time.monotonic() + UNREADABLE_SECONDS
                continue
            taken = sum(seat.taken for seat in camera.seats)
            if (missing or taken != held[camera.name]) and not self.unbalanced:
                self.unbalanced = (
                    f"camera {camera.name}: {missing} frames are nowhere, {taken} slots are taken for "
                    f"{held[camera.name]} frames: {camera.account()}"
                )
                logger.error("the account does not balance: %s", self.unbalanced)
        self.checks += 1

    def _finish(self) -> None:
        """Settle the last frames that were lost, and check that each has a result."""
        for camera in self._cameras:
            account = camera.account()
            self._lose(camera, account.captured, [])
            judged = sum(self.statistics[camera.name].states.values())
            if judged != account.captured and not self.unbalanced:
                self.unbalanced = f"camera {camera.name}: {judged} results of {account.captured} frames"
        self._unreadable.clear()
        self._check()


def _samples(places: Sequence[tuple[Camera, Seat]]) -> list[Frame]:
    """Return a frame of each camera that delivers pixels, of what lies in the ring before the first one."""
    samples = []
    for camera, seat in places:
        form = camera.format
        if form and form.pixel_format != ENCODED:
            nbytes = PIXEL_FORMATS[form.pixel_format].nbytes(form.height, form.width)
            number = FORMATS.index(form.pixel_format)
            capture = Capture(seat.column, 0, 0, 0, 0, nbytes, form.height, form.width, number)
            samples.append(Frame(camera.name, capture, form.pixel_format, Slot(seat.ring, capture)))
    return samples
