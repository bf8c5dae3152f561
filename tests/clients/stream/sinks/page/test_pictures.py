"""Which pictures the page asks for, and what it says of what they show."""

from __future__ import annotations

import json
import struct

import cv2
import numpy as np
import pytest

from triton_yolo.clients.detections import Detections
from triton_yolo.clients.stream.events import Picture
from triton_yolo.clients.stream.frames import Result, ResultState
from triton_yolo.clients.stream.sinks.page.pictures import (
    FAILURE_SECONDS,
    SAME_SECONDS,
    UNWATCHED_SECONDS,
    Wishes,
    are_same,
    boxes_of,
    live,
)
from triton_yolo.clients.stream.verdict import FrameVerdict, Verdict


def found(*boxes: tuple[float, float, float, float], kind: int = 0) -> Detections:
    """Detections at boxes."""
    count = len(boxes)
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    classes = np.full(count, kind, np.int32)
    return Detections(corners, np.full(count, 0.5, np.float32), classes, ("open",) * count)


def verdict(number: int, defects: Detections | None = None, camera: str = "top") -> FrameVerdict:
    """The verdict on a frame: a failure if there are defects."""
    result = Result(camera, number, ResultState.INSPECTED, "", 0, 0, (100, 200), 1.0, defects or found())
    return FrameVerdict(result, Verdict.FAIL if defects else Verdict.PASS, "", defects or found())


def wishes() -> Wishes:
    """Wishes for five pictures a second, for somebody who looks."""
    return Wishes(0.2, 640, 1280, watched=True)


@pytest.mark.parametrize("fps", [5.0, 7.0, 10.0, 30.0, 100.0])
def test_pictures_are_wanted_at_their_rate_whatever_the_camera_s_is(fps: float) -> None:
    wanted = wishes()
    number = sum(wanted.side(verdict(n), 100 + n / fps) is not None for n in range(int(20 * fps)))
    assert 0.85 * 100 <= number <= 102


def test_a_camera_that_is_slower_than_the_rate_has_each_of_its_pictures_shown() -> None:
    wanted = wishes()
    assert all(wanted.side(verdict(n), 100 + n / 2) == 640 for n in range(20))


def test_a_picture_is_wanted_now_and_then_while_nobody_looks() -> None:
    wanted = wishes()
    wanted.watched = False
    number = sum(wanted.side(verdict(n), 100 + n / 10) is not None for n in range(200))
    assert number == pytest.approx(20 / UNWATCHED_SECONDS, abs=1)


def test_cameras_have_their_own_rates() -> None:
    wanted = wishes()
    assert wanted.side(verdict(0, camera="top"), 100.0) == 640
    assert wanted.side(verdict(0, camera="side"), 100.0) == 640
    assert wanted.side(verdict(1, camera="top"), 100.01) is None


def test_a_failure_is_wanted_large_and_at_once() -> None:
    wanted = wishes()
    wanted.side(verdict(0), 100.0)
    failed = verdict(1, found((0, 0, 10, 10)))
    assert wanted.side(failed, 100.01) == 1280
    assert wanted.is_failure(failed)
    assert not wanted.is_failure(verdict(0))


def test_failures_of_one_object_are_wanted_once() -> None:
    wanted = wishes()
    for number in range(300):  # a board stands for ten seconds
        one = verdict(number, found((number % 2, 0, 10 + number % 2, 10)))
        if wanted.side(one, 100 + number / 30) == 1280:
            assert number == 0
            wanted.kept(one, 100 + number / 30)


def test_a_failure_whose_picture_did_not_come_is_wanted_again() -> None:
    wanted = wishes()
    failed = [verdict(number, found((0, 0, 10, 10))) for number in range(2)]
    assert wanted.side(failed[0], 100.0) == 1280
    assert wanted.side(failed[1], 100.0 + FAILURE_SECONDS / 2) != 1280
    assert wanted.side(failed[1], 100.0 + FAILURE_SECONDS) == 1280


def test_boards_have_several_pictures_and_the_next_one_its_own_at_once() -> None:
    wanted = Wishes(0.2, 640, 1280, boards=True, watched=True)
    defects = found((0, 0, 10, 10))
    sides = [wanted.side(verdict(number, defects), 100 + number / 10) for number in range(11)]
    assert [number for number, side in enumerate(sides) if side == 1280] == [0, 5, 10]
    wanted.forget("top")
    assert wanted.side(verdict(11, defects), 101.1) == 1280


@pytest.mark.parametrize("between", ["a pass", "a long time"])
def test_the_same_defects_on_another_object_are_wanted_again(between: str) -> None:
    wanted, now = wishes(), 102.0
    first, second = (verdict(number, found((0, 0, 10, 10))) for number in (0, 2))
    assert wanted.side(first, 100.0) == 1280
    wanted.kept(first, 100.0)
    assert wanted.side(second, now) != 1280
    if between == "a pass":
        wanted.side(verdict(1), now)
    else:
        now += SAME_SECONDS
    assert wanted.side(second, now) == 1280


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (found(), found(), True),
        (found((0, 0, 10, 10)), found(), False),
        (found((0, 0, 10, 10)), found((1, 0, 11, 10)), True),
        (found((0, 0, 10, 10)), found((6, 0, 16, 10)), False),
        (found((0, 0, 10, 10)), found((0, 0, 10, 10), kind=1), False),
        (found((0, 0, 10, 10), (50, 0, 60, 10)), found((50, 0, 60, 10), (0, 0, 10, 10)), True),
        (found((0, 0, 10, 10), (50, 0, 60, 10)), found((0, 0, 10, 10), (0, 0, 10, 10)), False),
        (found((5, 5, 5, 5)), found((5, 5, 5, 5)), False),  # nothing overlaps a box without an area
    ],
)
def test_the_same_defects_are_those_of_the_same_classes_at_the_same_places(
    first: Detections, second: Detections, same: bool
) -> None:
    assert are_same(first, second) is same
    assert are_same(second, first) is same


def test_boxes_are_shares_of_the_picture_and_say_which_are_defects() -> None:
    detections = found((20, 10, 60, 50), (-10, 90, 210, 110))
    result = Result("top", 0, ResultState.INSPECTED, "", 0, 0, (100, 200), 1.0, detections)
    judged = FrameVerdict(result, Verdict.FAIL, "", found((20, 10, 60, 50)))
    picture = Picture(judged, np.zeros((50, 100, 3), np.uint8), 0.5)
    first, second = boxes_of(picture)
    assert first == {"box": [0.1, 0.1, 0.2, 0.4], "name": "open", "score": 0.5, "defect": True}
    assert second["box"] == [0.0, 0.9, 1.0, 0.1]  # cut at the edges
    assert not second["defect"]


def test_numbers_that_are_none_do_not_reach_a_browser() -> None:
    detections = found((float("nan"), 0, float("inf"), 50))
    result = Result("top", 0, ResultState.INSPECTED, "", 0, 0, (100, 200), 1.0, detections)
    picture = Picture(FrameVerdict(result, Verdict.FAIL, "", detections), np.zeros((50, 100, 3), np.uint8), 0.5)
    assert boxes_of(picture)[0]["box"] == [0.0, 0.0, 1.0, 0.5]


def test_a_message_is_its_header_and_a_jpeg_no_larger_than_wanted() -> None:
    image = np.random.default_rng(0).integers(0, 255, (960, 1280, 3), np.uint8)
    shown, pixels = live(Picture(verdict(5), image, 1.0), 3, 640, {"number": 7})
    data = shown.message()
    (length,) = struct.unpack_from("<I", data)
    header = json.loads(data[4 : 4 + length])
    assert (header["camera"], header["number"], header["board"]) == ("top", 5, {"number": 7})
    assert cv2.imdecode(np.frombuffer(data[4 + length :], np.uint8), cv2.IMREAD_COLOR).shape == (480, 640, 3)
    assert live(Picture(verdict(6), image, 1.0), 4, 640, None)[1] == pixels
    assert live(Picture(verdict(6), 255 - image, 1.0), 4, 640, None)[1] != pixels
