"""How long a frame waits for those of other cameras."""

from __future__ import annotations

import pytest

from triton_yolo.clients.stream.window import Window

MS = 1_000_000


def learn(one: Window, name: str, number: float, offset: float = 0, delay: float = 0) -> None:
    """Let a window see a frame that was captured at this offset in ms, and was ready this much later."""
    at = 33 * number + offset
    one.captured(name, int(at * MS), int((at + delay) * MS))


def window(bound_ms: float = 5, delay: float = 0, frames: int = 20, **offsets: float) -> Window:
    """Return a window that has seen frames of each camera, each 33 ms after the other, at this offset in ms.

    Of camera a it has seen one more, which waits.
    """
    one = Window(bound_ms)
    for number in range(frames):
        for name, offset in offsets.items():
            learn(one, name, number, offset, delay)
    learn(one, "a", frames, offsets["a"], delay)
    return one


NEXT = 33 * 20 * MS  # when that one is captured


def test_a_camera_that_is_alone_does_not_wait() -> None:
    assert window(a=0).wait_ns(NEXT, ["a"]) == 0


def test_a_frame_waits_for_one_that_is_expected_within_the_bound() -> None:
    assert window(a=0, b=3).wait_ns(NEXT, ["a"]) == pytest.approx(3 * MS, abs=0.2 * MS)


def test_a_frame_does_not_wait_for_one_that_comes_later() -> None:
    assert window(a=0, b=8).wait_ns(NEXT, ["a"]) == 0


def test_cameras_that_are_triggered_together_wait_for_each_other_s_transfer() -> None:
    one = Window(5)
    for number in range(20):
        learn(one, "a", number, delay=20)
        learn(one, "b", number, delay=22)
    learn(one, "a", 20, delay=20)
    ready = NEXT + 20 * MS
    assert one.wait_ns(ready, ["a"]) == pytest.approx(2 * MS, abs=0.2 * MS)


def test_no_frame_waits_longer_than_the_bound() -> None:
    restless = Window(5)
    for number in range(40):
        learn(restless, "a", number)
        learn(restless, "b", number, 4 + (number + 1) % 2 * 2)  # it is expected late
    learn(restless, "a", 40)
    ready = 33 * 40 * MS
    wait = restless.wait_ns(ready, ["a"])
    assert 0 < wait <= 5 * MS
    assert restless.wait_ns(ready + 6 * MS, ["a"]) == 0


def test_nobody_is_waited_for_whose_frame_is_there() -> None:
    assert window(a=0, b=3).wait_ns(NEXT + 3 * MS, ["a", "b"]) == 0


def test_a_silent_camera_delays_nobody() -> None:
    one = window(a=0, b=3)
    for number in range(21, 31):
        learn(one, "a", number)
    assert one.wait_ns(33 * 30 * MS, ["a"]) == 0


def test_a_camera_that_is_forgotten_is_not_expected() -> None:
    one = window(a=0, b=3)
    one.forget("b")
    one.forget("b")
    assert one.wait_ns(NEXT, ["a"]) == 0


def test_the_last_frames_of_a_camera_that_is_forgotten_wait_for_nobody() -> None:
    one = window(a=0, b=3)
    one.forget("a")
    assert one.wait_ns(NEXT, ["a"]) == 0


def test_a_bound_of_zero_never_waits() -> None:
    assert window(0, a=0, b=3).wait_ns(NEXT, ["a"]) == 0


def test_times_that_do_not_go_on_teach_nothing() -> None:
    one, other = window(a=0, b=3), window(a=0, b=3)
    learn(one, "b", 0)
    learn(one, "b", 19, 3)
    assert one.wait_ns(NEXT, ["a"]) == other.wait_ns(NEXT, ["a"])
