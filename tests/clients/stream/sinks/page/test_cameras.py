"""What the page says of a camera."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from triton_yolo.clients.detections import Detections
from triton_yolo.clients.stream.frames import Result, ResultState
from triton_yolo.clients.stream.sinks.page.cameras import HISTORY, MOST_NAMES, OTHERS, CameraView, Counts
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict, Verdict


def detections(*names: str) -> Detections:
    """Defects of these classes."""
    count = len(names)
    return Detections(np.zeros((count, 4), np.float32), np.ones(count, np.float32), np.zeros(count, np.int32), names)


def frame(number: int, *names: str, at: float = 0.0, reason: str = "", latency_ms: float = 10.0) -> FrameVerdict:
    """The verdict on a frame of the camera that was captured at a time."""
    captured = round(at * 1e9)
    if reason:
        result = Result("top", number, ResultState.LATE, reason, captured, captured)
        return FrameVerdict(result, Verdict.NOT_INSPECTED, reason)
    found = detections(*names)
    result = Result("top", number, ResultState.INSPECTED, "", captured, captured, (10, 10), latency_ms, found)
    return FrameVerdict(result, Verdict.FAIL if names else Verdict.PASS, "", found)


def camera(fps: float | None = 10, triggered: bool = False, unchanged_after: float = math.inf) -> CameraView:
    """A camera, at the time 0."""
    return CameraView("top", fps, triggered, unchanged_after, 0.0)


@pytest.mark.parametrize(
    ("fps", "triggered", "silent", "health"),
    [
        (10, False, 0.5, "live"),
        (10, False, 2.9, "live"),
        (10, False, 3.1, "frozen"),
        (None, False, 3.1, "frozen"),
        (0.2, False, 14, "live"),  # its frames are five seconds apart
        (0.2, False, 16, "frozen"),
        (10, True, 3600, "waiting"),  # it is triggered, and may be silent
    ],
)
def test_a_camera_that_delivers_nothing_is_frozen(
    fps: float | None, triggered: bool, silent: float, health: str
) -> None:
    view = camera(fps, triggered)
    view.told("running", "", 0.0)
    view.judged(frame(0, at=10.0), 10.0)
    assert view.health(10.0 + silent)[0] == health


@pytest.mark.parametrize(
    ("state", "trouble", "health"),
    [
        ("running", "", "live"),
        ("opening", "", "dead"),  # it has run before
        ("waiting", "No such device", "dead"),
        ("waiting", "camera top: No such device", "dead"),
        ("failed", "it is no video", "dead"),
        ("ended", "", "ended"),
    ],
)
def test_a_camera_that_does_not_run_is_dead(state: str, trouble: str, health: str) -> None:
    view = camera()
    view.told("running", "", 0.0)
    view.judged(frame(0, at=1.0), 1.0)
    view.told(state, trouble, 1.0)
    assert view.health(1.1)[0] == health
    if trouble:
        assert view.health(1.1)[1] == trouble.removeprefix("camera top: ")


def test_a_camera_that_is_opened_for_the_first_time_is_not_dead() -> None:
    view = camera()
    assert view.health(100.0) == ("opening", "")
    view.told("opening", "No such device", 100.0)
    assert view.health(100.0)[0] == "dead"


def test_a_camera_that_runs_and_has_never_delivered_anything_is_frozen_from_its_start_on() -> None:
    view = camera()
    view.told("running", "", 50.0)
    assert view.health(52.0)[0] == "live"
    assert view.health(54.0) == ("frozen", "no frame for 4 s")


def test_a_camera_whose_picture_never_changes_is_frozen_though_it_delivers() -> None:
    view = camera(unchanged_after=10)
    view.told("running", "", 0.0)
    for second in range(13):
        view.judged(frame(second, at=float(second)), float(second))
        view.pictured(7 if second > 1 else second, float(second))
        expected = "frozen" if second > 12 else "live"
        assert view.health(float(second))[0] == expected
    view.judged(frame(13, at=13.0), 13.0)
    assert view.health(13.0) == ("frozen", "the same picture for 11 s")
    view.pictured(8, 13.0)
    assert view.health(13.0) == ("live", "")


def test_a_frame_that_was_captured_before_another_does_not_make_a_camera_older() -> None:
    view = camera()
    view.told("running", "", 0.0)
    view.judged(frame(1, at=5.0), 5.0)
    view.judged(frame(0, at=1.0), 5.0)
    view.judged(frame(2, reason="ring full"), 5.0)  # nobody knows when it was captured
    assert view.as_dict(6.0)["age"] == pytest.approx(1000)


def test_the_figures_of_a_second_are_those_of_its_frames() -> None:
    view = camera()
    for number in range(100):
        view.judged(frame(number, *(["open"] if number < 3 else []), latency_ms=float(number + 1)), 0.0)
    view.judged(frame(100, reason="late"), 0.0)
    point, _ = view.end_second()
    assert point == (100, 3, 1, 50.5, 99.0)
    assert view.end_second()[0] == (0, 0, 0, None, None)


def test_the_history_of_a_camera_is_bounded() -> None:
    view = camera()
    for _ in range(2 * HISTORY):
        view.end_second()
    assert len(view.history) == HISTORY


def test_what_was_not_inspected_counts_against_the_yield() -> None:
    counts = Counts()
    for verdict, why in [(Verdict.PASS, ""), (Verdict.PASS, ""), (Verdict.FAIL, "2 defects")]:
        counts.add(BoardVerdict("top", 1, verdict, why), Counter({"open": 2} if why else {}))
    assert counts.as_dict()["yield"] == pytest.approx(2 / 3)
    counts.add(BoardVerdict("top", 4, Verdict.NOT_INSPECTED, "refused: no room in the queue"), Counter())
    told = counts.as_dict()
    assert told["yield"] == pytest.approx(2 / 4)
    assert (told["pass"], told["fail"], told["not_inspected"]) == (2, 1, 1)
    assert told["reasons"] == {"refused": 1}
    assert told["classes"] == {"open": {"defects": 2, "boards": 1}}


def test_there_is_no_yield_before_anything_has_a_verdict() -> None:
    assert Counts().as_dict()["yield"] is None


def test_names_without_end_are_counted_together() -> None:
    counts = Counts()
    for number in range(10 * MOST_NAMES):
        counts.add(BoardVerdict("top", number, Verdict.FAIL), Counter({f"class {number}": 1}))
        counts.add(BoardVerdict("top", number, Verdict.NOT_INSPECTED, f"reason {number}"), Counter())
    told = counts.as_dict()
    assert len(told["classes"]) == len(told["reasons"]) == MOST_NAMES + 1
    assert told["classes"][OTHERS]["defects"] == 9 * MOST_NAMES


def test_the_defects_of_a_board_are_the_most_that_one_of_its_frames_shows() -> None:
    view = camera()
    view.judged(frame(3, "open"), 0.0)  # before the board stood
    view.judged(frame(4, "open", "open"), 0.0)
    view.judged(frame(5, "open", "short"), 0.0)
    view.judged(frame(6), 0.0)
    view.judged(frame(9, "spur"), 0.0)  # of the next board
    assert view.board(BoardVerdict("top", 1, Verdict.FAIL, numbers=(4, 6)), 1.0) == {"open": 2, "short": 1}
    assert view.board(BoardVerdict("top", 2, Verdict.FAIL, numbers=(9, 9)), 2.0) == {"spur": 1}
    assert view.board(BoardVerdict("top", 3, Verdict.NOT_INSPECTED), 3.0) == {}
    assert view.counts.as_dict()["classes"]["open"] == {"defects": 2, "boards": 1}


def test_a_camera_none_of_whose_frames_is_inspected_is_blind() -> None:
    view = camera()
    assert not view.as_dict(0.0)["blind"]
    view.judged(frame(0), 0.0)
    view.end_second()
    for number in range(1, 4):
        view.judged(frame(number, reason="late"), 1.0)
        view.end_second()
        assert view.as_dict(1.0)["blind"] is (number > 1)
    view.judged(frame(4), 2.0)
    view.end_second()
    assert not view.as_dict(2.0)["blind"]


def test_the_age_of_the_last_board_is_told() -> None:
    view = camera()
    assert view.as_dict(5.0)["board_age"] is None
    view.board(BoardVerdict("top", 7, Verdict.PASS, numbers=(0, 0)), 5.0)
    told = view.as_dict(8.0)
    assert told["board"] == {"number": 7, "verdict": "pass", "why": ""}
    assert told["board_age"] == 3.0
