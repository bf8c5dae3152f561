"""What a PLC is told at some moment: what is stale, dead or unknown is not inspected."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from tests.clients.stream.sinks.results import inspected, line_status, lost
from triton_yolo.clients.stream.events import CameraStatus
from triton_yolo.clients.stream.frames import ResultState
from triton_yolo.clients.stream.sinks.plc.handshake import Phase
from triton_yolo.clients.stream.sinks.plc.state import (
    SILENT_SECONDS,
    UNKNOWN_CLASS,
    CameraView,
    Code,
    Outcome,
    PlcState,
    Why,
    together,
)
from triton_yolo.clients.stream.verdict import BoardVerdict, Verdict


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def running(clock: Clock, *, boards: bool = False, stale_after: float = 2.0, **more: Any) -> PlcState:
    """A line with two cameras that work, and have no result yet."""
    state = PlcState(("top", "side"), boards=boards, stale_after=stale_after, clock=clock, **more)
    state.take(line_status("top", "side"))
    for camera in ("top", "side"):
        state.take(CameraStatus(camera, "running", ""))
    return state


def top(state: PlcState) -> CameraView:
    return state.view().cameras[0]


def test_before_anything_has_come_nothing_is_inspected(clock: Clock) -> None:
    state = PlcState(("top",), boards=False, stale_after=2, clock=clock)
    assert top(state).outcome == Outcome(why=Why.LINE)
    assert not state.view().alive
    state = running(clock)
    assert top(state).outcome == Outcome(why=Why.NO_RESULT)
    assert state.view().outcome.code == Code.NOT_INSPECTED


def test_a_result_is_told_with_its_worst_defect(clock: Clock) -> None:
    state = running(clock)
    state.take(inspected("top", 17, (2, 0.9), (0, 0.5)))
    view = top(state)
    assert view.outcome == Outcome(Code.FAIL, Why.NONE, 2, 3, pytest.approx(0.9))
    assert (view.number, view.sequence, view.running, view.stale) == (17, 1, True, False)
    assert view.captured == pytest.approx(time.time(), abs=60)
    state.take(inspected("top", 18))
    assert top(state).outcome == Outcome(Code.PASS, Why.NONE)
    assert state.view().sequence == 2


@pytest.mark.parametrize(
    ("state", "reason", "why"),
    [
        (ResultState.LATE, "late", Why.LATE),
        (ResultState.LOST, "ring full", Why.LOST),
        (ResultState.REFUSED, "refused: it has no such model", Why.REFUSED),
        (ResultState.REFUSED, "server away: no connection", Why.SERVER_AWAY),
    ],
)
def test_what_was_not_inspected_says_why(clock: Clock, state: ResultState, reason: str, why: Why) -> None:
    line = running(clock)
    line.take(lost("top", 3, state, reason))
    assert top(line).outcome == Outcome(Code.NOT_INSPECTED, why)


def test_a_result_that_has_become_old_counts_no_more(clock: Clock) -> None:
    state = running(clock)
    state.take(inspected("top", 0))
    clock.now += 1.9
    assert top(state).outcome.code == Code.PASS
    assert top(state).age == pytest.approx(1.9, abs=0.5)
    clock.now += 0.6
    assert top(state).outcome == Outcome(why=Why.STALE)
    assert top(state).stale


def test_with_an_infinite_limit_a_result_stays(clock: Clock) -> None:
    state = running(clock, stale_after=math.inf)
    state.take(inspected("top", 0))
    clock.now += 1000
    state.take(line_status("top", "side"))
    assert top(state).outcome.code == Code.PASS


@pytest.mark.parametrize("what", ["opening", "waiting", "ended", "failed"])
def test_a_camera_that_does_not_run_has_inspected_nothing(clock: Clock, what: str) -> None:
    state = running(clock)
    state.take(inspected("top", 0))
    state.take(CameraStatus("top", what, "it was unplugged"))
    assert top(state).outcome == Outcome(why=Why.CAMERA)
    assert (top(state).running, top(state).stale) == (False, True)


def test_a_line_that_says_nothing_any_more_has_inspected_nothing_and_its_heart_stands(clock: Clock) -> None:
    state = running(clock, stale_after=math.inf)
    state.take(inspected("top", 0))
    state.beat()
    assert state.view().heartbeat == 1
    clock.now += SILENT_SECONDS
    state.beat()
    assert state.view().heartbeat == 1
    assert top(state).outcome == Outcome(why=Why.LINE)
    state.take(line_status("top", "side"))
    assert top(state).outcome.code == Code.PASS
    state.end()
    assert top(state).outcome == Outcome(why=Why.LINE)


def test_cameras_that_a_plc_does_not_know_are_left_out(clock: Clock) -> None:
    state = running(clock)
    state.take(inspected("new", 0))
    state.take(CameraStatus("new", "running", ""))
    state.take(BoardVerdict("new", 1, Verdict.PASS))
    assert len(state.view().cameras) == 2
    assert state.view().sequence == 0


def test_where_boards_are_told_apart_their_verdicts_are_told_and_not_those_of_frames(clock: Clock) -> None:
    state = running(clock, boards=True)
    state.take(inspected("top", 0, (1, 0.7)))
    assert top(state).outcome.why == Why.NO_RESULT
    state.take(BoardVerdict("top", 5, Verdict.FAIL, "1 short", 3, 3, 2, ("short", 0.7), (0, 2), 0, time.time_ns()))
    assert top(state).outcome == Outcome(Code.FAIL, Why.NONE, 2, 2, 0.7)
    assert top(state).number == 5
    state.take(BoardVerdict("top", 6, Verdict.FAIL, "1 spur", 3, 3, 1, ("spur", 0.8), (0, 2), 0, time.time_ns()))
    assert top(state).outcome.worst_class == UNKNOWN_CLASS
    state.take(BoardVerdict("top", 7, Verdict.NOT_INSPECTED, "no frame came"))
    assert top(state).outcome == Outcome(why=Why.BOARD)


def test_without_a_handshake_a_request_is_a_trigger(clock: Clock) -> None:
    calls: list[str | None] = []
    state = running(clock, boards=True, trigger=lambda camera: calls.append(camera) or {})
    for request in (0, 1, 1, 2, 0, 2):
        state.command(request, 0)
    assert calls == [None, None, None]
    assert state.view().phase == Phase.FREE


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((), Code.NOT_INSPECTED),
        ((Code.PASS,), Code.PASS),
        ((Code.PASS, Code.NOT_INSPECTED), Code.NOT_INSPECTED),  # what was not inspected is never good
        ((Code.NOT_INSPECTED, Code.FAIL), Code.FAIL),  # and a defect is a defect
        ((Code.PASS, Code.FAIL), Code.FAIL),
    ],
)
def test_cameras_are_judged_together(codes: tuple[Code, ...], expected: Code) -> None:
    assert together([Outcome(code) for code in codes]).code == expected


def test_defects_of_all_cameras_add_up_and_the_worst_of_all_is_told() -> None:
    outcome = together([Outcome(Code.FAIL, Why.NONE, 2, 3, 0.5), Outcome(Code.FAIL, Why.NONE, 1, 7, 0.9)])
    assert outcome == Outcome(Code.FAIL, Why.NONE, 3, 7, 0.9)
