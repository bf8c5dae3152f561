"""A PLC asks, the line answers, and the answer stays as it is until it was read."""

from __future__ import annotations

import time

from tests.clients.stream.sinks.plc.test_state import Clock
from tests.clients.stream.sinks.results import inspected, line_status, lost
from triton_yolo.clients.stream.events import CameraStatus
from triton_yolo.clients.stream.sinks.plc.handshake import Handshake, Phase
from triton_yolo.clients.stream.sinks.plc.state import Code, Outcome, PlcState, Why
from triton_yolo.clients.stream.verdict import BoardVerdict, Verdict

CAMERAS = ("top", "side")


class Boards:
    """Begins boards, as a line's judge does."""

    def __init__(self, *cameras: str) -> None:
        self.cameras, self.count = cameras, 0

    def __call__(self, camera: str | None) -> dict[str, int]:
        self.count += 1
        return dict.fromkeys(self.cameras, self.count)


def asked(clock: Clock, boards: Boards | None = None) -> PlcState:
    shake = Handshake(CAMERAS, boards, 5.0, Outcome(why=Why.NO_ANSWER), clock)
    state = PlcState(CAMERAS, boards=boards is not None, stale_after=60, handshake=shake, clock=clock)
    state.take(line_status(*CAMERAS))
    for camera in CAMERAS:
        state.take(CameraStatus(camera, "running", ""))
    return state


def board(camera: str, number: int, verdict: Verdict = Verdict.PASS) -> BoardVerdict:
    return BoardVerdict(camera, number, verdict, last_ns=time.time_ns())


def test_an_answer_is_done_when_all_cameras_have_answered_and_stays_until_it_is_acknowledged() -> None:
    state = asked(Clock())
    assert state.view().phase == Phase.READY
    state.command(1, 0)
    assert (state.view().phase, state.view().request) == (Phase.BUSY, 1)
    state.take(inspected("top", 3, age=-1))
    assert state.view().phase == Phase.BUSY
    assert state.view().outcome.code == Code.NOT_INSPECTED
    state.take(inspected("side", 9, (0, 0.8), age=-1))
    done = state.view()
    assert (done.phase, done.request, done.sequence) == (Phase.DONE, 1, 1)
    assert done.outcome.code == Code.FAIL
    assert [camera.number for camera in done.cameras] == [3, 9]
    for number in range(10, 20):  # later results change nothing
        state.take(inspected("side", number, age=-1))
        state.command(1, 0)
    after = state.view()
    assert (after.outcome, [camera.number for camera in after.cameras]) == (done.outcome, [3, 9])
    state.command(1, 1)
    assert (state.view().phase, state.view().request) == (Phase.READY, 0)
    assert state.view().outcome.code == Code.NOT_INSPECTED


def test_a_frame_that_was_captured_before_the_request_is_no_answer() -> None:
    state = asked(Clock())
    state.command(1, 0)
    state.take(inspected("top", 1, age=10))
    state.take(inspected("side", 1, age=-1))
    assert state.view().phase == Phase.BUSY
    state.take(inspected("top", 2, age=-1))
    assert state.view().phase == Phase.DONE
    assert state.view().cameras[0].number == 2


def test_a_frame_that_was_late_is_an_answer_and_not_good() -> None:
    state = asked(Clock())
    state.command(1, 0)
    state.take(inspected("top", 1, age=-1))
    verdict = lost("side", 1)
    state.take(verdict)
    assert state.view().phase == Phase.DONE
    assert state.view().outcome == Outcome(Code.NOT_INSPECTED, Why.LATE)


def test_with_triggers_the_board_that_the_request_began_is_the_answer_and_no_other() -> None:
    state = asked(Clock(), Boards(*CAMERAS))
    state.command(7, 0)
    for camera in CAMERAS:
        state.take(board(camera, 4, Verdict.FAIL))  # of another trigger
    assert state.view().phase == Phase.BUSY
    for camera in CAMERAS:
        state.take(board(camera, 1))
    assert state.view().phase == Phase.DONE
    assert state.view().outcome.code == Code.PASS


def test_a_camera_that_cannot_begin_a_board_has_answered_at_once_and_a_line_that_takes_none_too() -> None:
    state = asked(Clock(), Boards("top"))
    state.command(1, 0)
    state.take(board("top", 1))
    assert state.view().phase == Phase.DONE
    assert state.view().outcome == Outcome(Code.NOT_INSPECTED, Why.NO_ANSWER)
    state = asked(Clock(), Boards())
    state.command(1, 0)
    assert (state.view().phase, state.view().sequence) == (Phase.DONE, 1)
    assert state.view().outcome == Outcome(Code.NOT_INSPECTED, Why.NO_ANSWER)


def test_a_request_that_is_not_answered_in_time_is_done_and_not_good() -> None:
    clock = Clock()
    state = asked(clock)
    state.command(1, 0)
    state.take(inspected("top", 3, age=-1))
    clock.now += 4.9
    state.beat()
    assert state.view().phase == Phase.BUSY
    clock.now += 0.2
    state.beat()
    assert state.view().phase == Phase.DONE
    assert state.view().outcome == Outcome(Code.NOT_INSPECTED, Why.NO_ANSWER)
    assert state.view().cameras[0].outcome.code == Code.PASS


def test_a_plc_that_was_started_anew_begins_anew() -> None:
    state = asked(Clock(), Boards(*CAMERAS))
    state.command(5, 4)
    state.command(1, 0)  # while the line is busy
    assert (state.view().phase, state.view().request) == (Phase.BUSY, 1)
    for camera in CAMERAS:
        state.take(board(camera, 2))
    assert state.view().phase == Phase.DONE
    state.command(2, 0)  # in place of the acknowledgement
    assert (state.view().phase, state.view().request) == (Phase.BUSY, 2)
    state.command(0, 0)  # it is taken back
    assert state.view().phase == Phase.READY


def test_the_same_number_may_come_again_through_0_and_an_old_acknowledgement_is_none() -> None:
    state = asked(Clock(), Boards(*CAMERAS))
    for count in (1, 2):
        state.command(1, 0 if count == 1 else 1)
        for camera in CAMERAS:
            state.take(board(camera, count))
        state.command(1, 0 if count == 1 else 1)
        assert state.view().phase == Phase.DONE
        state.command(1, 0)
        state.command(1, 1)
        assert state.view().phase == Phase.READY
        state.command(0, 1)
    assert state.view().sequence == 2
