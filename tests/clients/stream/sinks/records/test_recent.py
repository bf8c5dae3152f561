"""The last seconds in memory, and the windows around failures."""

from __future__ import annotations

from tests.clients.stream.results import inspected, lost
from triton_yolo.clients.stream.sinks.records.recent import GRACE_NS, LONGEST, SECOND, Recent, Shot
from triton_yolo.clients.stream.verdict import FrameVerdict, Verdict

TENTH = SECOND // 10


def frame(number: int, camera: str = "top", verdict: Verdict = Verdict.PASS) -> FrameVerdict:
    """A frame of a camera with ten of them a second."""
    return FrameVerdict(inspected(number, camera=camera), verdict)


def shot(number: int, camera: str = "top", size: int = 100) -> Shot:
    return Shot(frame(number, camera), bytes(size), 1.0)


def numbers(shots: list[Shot]) -> list[int]:
    return [one.frame.result.number for one in shots]


def test_a_window_holds_the_frames_before_and_behind_a_failure() -> None:
    recent = Recent(1.0, 0.5, 10**6)
    for number in range(30):
        recent.add(shot(number))
        if number == 20:
            recent.failed(frame(20, verdict=Verdict.FAIL))

    assert not recent.due(20 * TENTH + 5 * TENTH + GRACE_NS)
    [(window, shots)] = recent.due(20 * TENTH + 5 * TENTH + GRACE_NS + 2)
    assert window.first.result.number == 20
    assert numbers(shots) == list(range(10, 26))
    assert not recent.due(None)


def test_failures_that_follow_each_other_are_one_window_of_a_bounded_length() -> None:
    recent = Recent(1.0, 1.0, 10**6)
    for number in range(300):
        recent.add(shot(number))
        recent.failed(frame(number, verdict=Verdict.FAIL))
        if found := recent.due(number * TENTH):
            break

    [(window, shots)] = found
    assert window.first.result.number == 0
    assert numbers(shots)[0] == 0
    assert window.end - window.begin == LONGEST * 2 * SECOND


def test_only_what_may_be_needed_is_kept() -> None:
    recent = Recent(1.0, 1.0, 10**6)
    for number in range(100):
        recent.add(shot(number))
        assert recent.nbytes <= 11 * 100


def test_memory_has_a_bound_and_the_oldest_pictures_of_all_cameras_go_first() -> None:
    recent = Recent(10.0, 0.0, 1000)
    for number in range(10):
        recent.add(shot(number, "left"))
        recent.add(shot(number, "right"))
        assert recent.nbytes <= 1000
    for name in ("left", "right"):
        recent.failed(frame(9, name, Verdict.FAIL))

    assert [numbers(shots) for _, shots in recent.due(None)] == [[5, 6, 7, 8, 9]] * 2
    recent.add(shot(10, size=2000))
    assert recent.nbytes == 0


def test_pictures_that_come_out_of_order_are_put_in_order() -> None:
    recent = Recent(1.0, 0.0, 10**6)
    for number in (0, 2, 1, 3):
        recent.add(shot(number))
    recent.failed(frame(3, verdict=Verdict.FAIL))

    [(_, shots)] = recent.due(None)
    assert numbers(shots) == [0, 1, 2, 3]


def test_a_frame_that_nobody_has_seen_begins_no_window() -> None:
    recent = Recent(1.0, 1.0, 10**6)
    recent.failed(FrameVerdict(lost(0), Verdict.NOT_INSPECTED, "source lost"))

    assert not recent.due(None)
