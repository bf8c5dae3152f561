"""What the collector does with frames, between a real ring and a server that is played."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from triton_yolo.clients.detections import Detections
from triton_yolo.clients.errors import DetectionError, ServerBusy, ServerUnavailable, UnknownRegion
from triton_yolo.clients.memory.ring import ANSWERED, VERSION, Ring, Writer
from triton_yolo.clients.request import Request
from triton_yolo.clients.stream import collector as module
from triton_yolo.clients.stream.accounts import Seat
from triton_yolo.clients.stream.cameras import Cameras
from triton_yolo.clients.stream.carriers import SystemCarrier
from triton_yolo.clients.stream.collector import Collector
from triton_yolo.clients.stream.frames import FORMATS, Result
from triton_yolo.clients.stream.line import Line
from triton_yolo.clients.stream.statistics import CameraStatistics
from triton_yolo.clients.stream.supervised import Camera

HEIGHT, WIDTH = 8, 16
SIZE = HEIGHT * WIDTH * 3


class PlayedCarrier(SystemCarrier):
    """Registers rings with nobody."""

    def __init__(self) -> None:
        self.attached: list[str] = []
        self.detached: list[str] = []
        self.may_attach = threading.Event()
        self.may_attach.set()
        self.error: Exception | None = None

    def attach(self, ring: Ring) -> None:
        self.may_attach.wait(30)
        self.attached.append(ring.name)

    def detach(self, ring: Ring) -> None:
        if self.error:
            raise self.error
        self.detached.append(ring.name)


class PlayedDetector:
    """Answers each request as the test says."""

    def __init__(self, answer: Callable[[Request], Awaitable[int]]) -> None:
        self.answer = answer
        self.protocol = self
        self.is_there = True

    async def run(self, request: Request) -> list[Detections]:
        await self.answer(request)
        nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), ())
        return [nothing] * request.tensor.shape[0]

    def forget_models(self) -> None:
        """There are none."""

    async def call(self, call: object) -> dict[str, Any]:
        if not self.is_there:
            raise ServerUnavailable("away")
        return {}


class Played:
    """A line whose cameras are this test's."""

    def __init__(self, answer: Callable[[Request], Awaitable[Any]], names: str = "a", **settings: Any) -> None:
        self.line = Line.model_validate(
            {
                "name": f"test-collector-{os.getpid()}",
                "window_ms": 0,
                "deadline_ms": 20_000,
                "cameras": [{"name": name, "uri": "synthetic:photo"} for name in names],
                **settings,
            }
        )
        self.cameras = Cameras(self.line.name, self.line.slots, False, lambda: self.collector.wake())
        self.carrier, self.detector = PlayedCarrier(), PlayedDetector(answer)
        self.verdicts: list[Result] = []
        self.collector = Collector(
            self.line,
            self.cameras,
            self.detector,  # type: ignore[arg-type]
            self.carrier,
            defaultdict(CameraStatistics),
            self.verdicts.append,
        )
        self.writers: dict[str, Writer] = {}
        self.made = [self.cameras._new(config) for config in self.line.cameras]
        self.seat(self.made)

    def seat(self, group: list[Camera]) -> None:
        for camera, seat in zip(group, self.cameras._ring(SIZE, group), strict=True):
            camera.seat, seat.alive, camera.state = seat, True, "running"
            self.writers[camera.name] = Writer(Ring.open(seat.ring.path), seat.column, self.cameras.ready)

    def seat_of(self, name: str) -> Seat:
        seat = self.cameras[name].seat
        assert seat
        return seat

    def capture(self, name: str = "a", age: float = 0.0, height: int = HEIGHT) -> None:
        """Capture a frame, so many seconds ago."""
        writer = self.writers[name]
        capture = writer.begin(time.monotonic_ns() - int(age * 1e9), time.time_ns())
        if capture:
            writer.publish(capture, SIZE, height, WIDTH, FORMATS.index("rgb"))

    def end(self) -> None:
        """Let the cameras end."""
        for camera in self.made:
            self.writers[camera.name].close()
            self.writers[camera.name]._ring.close()
            for seat in camera.seats:
                seat.ring.recover(seat.column)
                seat.alive = False
            camera.state = "ended"
        self.cameras._closing = True
        self.collector.wake()

    def states(self, name: str = "a") -> list[str]:
        return [verdict.reason or verdict.state.value for verdict in self.verdicts if verdict.camera == name]

    def run(self, body: Callable[[Played], Awaitable[None]]) -> None:
        """Run the collector beside something, and prove the accounts."""

        async def inside() -> None:
            work = asyncio.ensure_future(self.collector.run())
            try:
                await asyncio.wait_for(body(self), 60)
                self.end()
                await asyncio.wait_for(work, 60)
                assert self.collector.unbalanced == ""
                for camera in self.cameras:
                    account = camera.account()
                    mine = [verdict for verdict in self.verdicts if verdict.camera == camera.name]
                    assert [verdict.number for verdict in mine] == list(range(account.captured))
                    reasons = Counter(one.reason.split(":")[0] for one in mine if one.reason)
                    assert reasons == {reason.words: count for reason, count in account.dropped.items()}
                await self.collector.detach()
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                await self.cameras.close()

        asyncio.run(inside())

    async def judged(self, count: int, name: str = "a") -> None:
        while len(self.states(name)) < count:
            await asyncio.sleep(0.01)


async def at_once(request: Request) -> None:
    """Answer without a pause."""


def test_each_frame_gets_its_verdict_in_order() -> None:
    async def body(line: Played) -> None:
        for _ in range(10):
            line.capture("a")
            line.capture("b")
            await asyncio.sleep(0.005)
        await line.judged(10, "a")
        await line.judged(10, "b")

    line = Played(at_once, "ab")
    line.run(body)
    assert set(line.states("a") + line.states("b")) == {"inspected"}
    assert line.carrier.attached == line.carrier.detached  # once


def test_frames_that_the_ring_has_lost_get_verdicts_too() -> None:
    async def slowly(request: Request) -> None:
        await asyncio.sleep(0.3)

    async def body(line: Played) -> None:
        for _ in range(50):  # before anybody looks
            line.capture()
        await line.judged(50)

    line = Played(slowly, slots=8, backlog=2)
    line.run(body)
    assert Counter(line.states()) == {"ring full": 42, "late": 7, "inspected": 1}


def test_frames_that_a_dead_camera_has_lost_are_judged_before_it_is_back() -> None:
    async def body(line: Played) -> None:
        line.capture()
        await line.judged(1)
        assert line.writers["a"].begin(time.monotonic_ns(), 0)  # it dies while it writes this one
        line.writers["a"]._ring.close()  # gives its leases back, as a death does
        seat = line.seat_of("a")
        assert seat.ring.recover(seat.column) == 1
        seat.alive, line.cameras["a"].state = False, "waiting"
        line.collector.wake()
        await line.judged(2)
        line.writers["a"] = Writer(Ring.open(seat.ring.path), seat.column, line.cameras.ready)

    line = Played(at_once)
    line.run(body)
    assert line.states() == ["inspected", "source lost"]


def test_a_frame_that_is_being_written_where_another_was_ready_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(line: Played) -> None:
        writer, reader = line.writers["a"], line.seat_of("a").reader
        capture = writer.begin(time.monotonic_ns(), 0)
        assert capture
        # What a reader sees that was interrupted between the state of a slot and the rest of it.
        monkeypatch.setattr(reader, "ready", lambda: [capture])
        for _ in range(3):
            line.collector.wake()
            await asyncio.sleep(0.01)
        monkeypatch.undo()
        for _ in range(3):
            line.collector.wake()
            await asyncio.sleep(0.01)
        assert line.states() == []
        writer.publish(capture, SIZE, HEIGHT, WIDTH, FORMATS.index("rgb"))
        await line.judged(1)

    line = Played(at_once)
    line.run(body)
    assert line.states() == ["inspected"]


def test_old_frames_are_late_and_of_many_the_newest_is_sent() -> None:
    async def body(line: Played) -> None:
        line.capture(age=30)  # older than its deadline
        await line.judged(1)
        for _ in range(4):  # more than may wait
            line.capture()
        await line.judged(5)

    line = Played(at_once, backlog=2)
    line.run(body)
    assert line.states() == ["late", "late", "late", "late", "inspected"]


def test_files_that_wait_for_their_reader_are_never_late() -> None:
    async def body(line: Played) -> None:
        for _ in range(6):
            line.capture(age=30)
        await line.judged(6)

    line = Played(at_once, backlog=2)
    line.cameras["a"].waits = True
    line.run(body)
    assert line.states() == ["inspected"] * 6


def test_files_wait_for_a_server_that_is_away_until_they_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.02)

    async def answer(request: Request) -> None:
        if not line.detector.is_there:
            raise ServerUnavailable("nobody answers")

    async def body(line: Played) -> None:
        for is_back in (True, False):
            line.detector.is_there = False
            for _ in range(4):
                line.capture()
            while not line.collector.away:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            line.detector.is_there = is_back
            if is_back:
                await line.judged(4)
        line.cameras["a"]._stop.set()
        line.collector.wake()
        await line.judged(8)

    line = Played(answer, in_flight=1)
    line.cameras["a"].waits = True
    line.run(body)
    away = ["server away: nobody answers"]
    assert line.states() == [*away, *["inspected"] * 3, *away, *["server away"] * 3]


def test_a_frame_that_cannot_be_sent_costs_no_other() -> None:
    async def body(line: Played) -> None:
        for number in range(3):
            line.capture("a", height=HEIGHT + 1)  # larger than what was written
            line.capture("b")
            await line.judged(number + 1, "a")
            await line.judged(number + 1, "b")

    line = Played(at_once, "ab")
    line.run(body)
    assert line.states("b") == ["inspected"] * 3
    assert set(line.states("a")) == {"refused: a rgb frame of 9x16 has 432 bytes; got 384"}


def test_a_camera_whose_slots_are_all_taken_is_waited_for_in_peace() -> None:
    async def slowly(request: Request) -> None:
        await asyncio.sleep(0.2)

    async def body(line: Played) -> None:
        line.capture()
        await asyncio.sleep(0.02)
        line.capture()  # one of three slots may be taken, and two requests may be under way
        checks = line.collector.checks
        await asyncio.sleep(0.1)
        assert line.collector.checks < checks + 20
        await line.judged(2)

    line = Played(slowly, slots=3, backlog=1, in_flight=2)
    line.run(body)
    assert line.states() == ["inspected", "inspected"]


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (DetectionError("too large"), "refused: too large"),
        (ServerBusy("full"), "refused: full"),
        (KeyError("scores"), "refused: 'scores'"),  # an answer that nobody foresaw
    ],
)
def test_a_request_that_fails_costs_its_frames_and_no_slot(error: Exception, verdict: str) -> None:
    broken = True

    async def answer(request: Request) -> None:
        if broken:
            raise error

    async def body(line: Played) -> None:
        nonlocal broken
        for number in range(20):  # more than there are slots
            line.capture()
            await line.judged(number + 1)
        broken = False
        line.capture()
        await line.judged(21)

    line = Played(answer)
    line.run(body)
    assert line.states() == [verdict] * 20 + ["inspected"]


def test_a_server_that_was_busy_until_the_deadline_makes_frames_late() -> None:
    async def answer(request: Request) -> None:
        await asyncio.sleep(0.15)
        raise ServerBusy("waited for longer than it may")

    async def body(line: Played) -> None:
        line.capture()
        await line.judged(1)

    line = Played(answer, deadline_ms=100)
    line.run(body)
    assert line.states() == ["late"]


def test_an_answer_that_does_not_come_makes_a_frame_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.05)

    async def never(request: Request) -> None:
        await asyncio.sleep(1000)

    async def body(line: Played) -> None:
        line.capture()
        await line.judged(1)

    line = Played(never, deadline_ms=100)
    line.run(body)
    assert line.states() == ["late"]


def test_a_registration_that_takes_long_makes_frames_late_and_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.05)

    async def body(line: Played) -> None:
        line.carrier.may_attach.clear()
        for number in range(3):
            line.capture()
            await line.judged(number + 1)
        line.carrier.may_attach.set()
        line.capture()
        await line.judged(4)

    line = Played(at_once, deadline_ms=200)
    line.run(body)
    assert line.states()[:3] == ["late"] * 3
    assert line.carrier.attached == line.carrier.detached


def test_requests_that_find_a_server_started_anew_register_once() -> None:
    knows = False

    async def answer(request: Request) -> None:
        if not knows:
            await asyncio.sleep(0.05)  # both are under way
            raise UnknownRegion("unknown")

    async def body(line: Played) -> None:
        nonlocal knows
        await line.collector.attach([])
        line.capture()
        await asyncio.sleep(0.01)
        line.capture()
        original = line.carrier.attach

        def attach(ring: Ring) -> None:
            nonlocal knows
            time.sleep(0.05)
            original(ring)
            knows = True

        line.carrier.attach = attach  # type: ignore[method-assign]
        await line.judged(2)

    line = Played(answer)
    line.run(body)
    assert line.states() == ["inspected", "inspected"]
    assert len(line.carrier.attached) == 2  # the first time, and once more


def test_a_server_that_is_away_is_asked_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.02)

    async def answer(request: Request) -> None:
        if not line.detector.is_there:
            raise ServerUnavailable("nobody answers")

    async def body(line: Played) -> None:
        line.detector.is_there = False
        for number in range(3):
            line.capture()
            await line.judged(number + 1)
        assert line.collector.away == "nobody answers"
        line.detector.is_there = True
        while line.collector.away:
            await asyncio.sleep(0.01)
        line.capture()
        await line.judged(4)

    line = Played(answer)
    line.run(body)
    assert line.states() == ["server away: nobody answers", "server away", "server away", "inspected"]


def test_a_camera_whose_frames_grow_leaves_its_ring_when_the_last_one_is_judged() -> None:
    go = asyncio.Event()

    async def answer(request: Request) -> None:
        await go.wait()

    async def body(line: Played) -> None:
        old = line.seat_of("a")
        line.capture()
        while not line.collector._ticks:
            await asyncio.sleep(0.01)
        line.capture()
        line.writers["a"].close()
        line.writers["a"]._ring.close()
        old.ring.recover(old.column)
        old.alive = False
        camera = line.cameras["a"]
        camera.retire()
        line.seat([camera])
        line.capture()
        await asyncio.sleep(0.05)
        assert [reader.ring for reader in line.cameras.readers] == [old.ring, line.seat_of("a").ring]
        go.set()
        await line.judged(3)
        while old.ring.path.exists():
            await asyncio.sleep(0.01)
        assert line.carrier.detached == [old.ring.name]

    line = Played(answer)
    line.run(body)
    assert line.states() == ["inspected"] * 3


def test_an_account_that_cannot_be_read_costs_no_time() -> None:
    async def body(line: Played) -> None:
        words = line.seat_of("a").ring.account(0)
        words[VERSION] += 1  # its process is stopped in the middle of a change
        began = time.monotonic()
        for number in range(20):
            line.capture("b")
            await line.judged(number + 1, "b")
        assert line.collector._unreadable["a"] > began
        words[VERSION] += 1

    line = Played(at_once, "ab")
    line.run(body)
    assert line.states("b") == ["inspected"] * 20


def test_an_account_that_does_not_balance_is_found() -> None:
    line = Played(at_once)

    async def body(line: Played) -> None:
        line.capture()
        await line.judged(1)
        line.seat_of("a").ring.account(0)[ANSWERED] += 1
        line.capture()
        await line.judged(2)
        assert line.collector.unbalanced.startswith("camera a: -1 frames are nowhere")
        line.seat_of("a").ring.account(0)[ANSWERED] -= 1
        line.collector.unbalanced = ""

    line.run(body)


def test_a_server_that_is_gone_is_told_once_at_the_end() -> None:
    line = Played(at_once)
    line.carrier.error = ServerUnavailable("gone")

    async def body(line: Played) -> None:
        line.capture()
        await line.judged(1)

    line.run(body)
    assert not line.carrier.detached
