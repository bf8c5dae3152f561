"""How long a frame waits for those of other cameras."""

from __future__ import annotations

import pytest

from triton_yolo.clients.stream.window import Window

MS = 1_000_000


def window(bound_ms: float = 5, **offsets: float) -> Window:
    """Return a window that has seen 20 frames of each camera, each 33 ms after the other, at this offset in ms."""
    one = Window(bound_ms)
    for number in range(20):
        for name, offset in offsets.items():
            one.captured(name, int((33 * number + offset) * MS))
    return one


NEXT = 33 * 20 * MS  # when the next frame of a camera at offset 0 is captured


def test_a_camera_that_is_alone_does_not_wait() -> None:
    assert window(a=0).wait_ns(NEXT, NEXT, ["a"]) == 0


def test_a_frame_waits_for_one_that_is_expected_within_the_bound() -> None:
    assert window(a=0, b=3).wait_ns(NEXT, NEXT, ["a"]) == pytest.approx(3 * MS, abs=0.2 * MS)


def test_a_frame_does_not_wait_for_one_that_comes_later() -> None:
    assert window(a=0, b=8).wait_ns(NEXT, NEXT, ["a"]) == 0


def test_no_frame_waits_longer_than_the_bound() -> None:
    restless = Window(5)
    for number in range(40):
        restless.captured("a", 33 * number * MS)
        restless.captured("b", int((33 * number + 4 + (number + 1) % 2 * 2) * MS))  # it is expected late
    oldest = 33 * 40 * MS
    wait = restless.wait_ns(oldest, oldest, ["a"])
    assert 0 < wait <= 5 * MS
    assert restless.wait_ns(oldest + 6 * MS, oldest, ["a"]) == 0


def test_nobody_is_waited_for_whose_frame_is_there() -> None:
    assert window(a=0, b=3).wait_ns(NEXT + 3 * MS, NEXT, ["a", "b"]) == 0


def test_a_silent_camera_delays_nobody() -> None:
    one = window(a=0, b=3)
    for number in range(20, 30):
        one.captured("a", 33 * number * MS)
    now = 33 * 30 * MS
    assert one.wait_ns(now, now, ["a"]) == 0


def test_a_camera_that_is_forgotten_is_not_expected() -> None:
    one = window(a=0, b=3)
    one.forget("b")
    one.forget("b")
    assert one.wait_ns(NEXT, NEXT, ["a"]) == 0


def test_a_bound_of_zero_never_waits() -> None:
    assert window(0, a=0, b=3).wait_ns(NEXT, NEXT, ["a"]) == 0


def test_times_that_do_not_go_on_teach_nothing() -> None:
    one, other = window(a=0, b=3), window(a=0, b=3)
    one.captured("b", 0)
    one.captured("b", int((33 * 19 + 3) * MS))
    assert one.wait_ns(NEXT, NEXT, ["a"]) == other.wait_ns(NEXT, NEXT, ["a"])
