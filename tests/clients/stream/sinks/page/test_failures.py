"""Failures that the page keeps: the newest, with the picture of their board, within a bound of bytes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.clients.stream.sinks.page.test_pictures import found
from triton_yolo.clients.stream.events import Picture
from triton_yolo.clients.stream.frames import Result, ResultState
from triton_yolo.clients.stream.sinks.page.failures import CANDIDATES, LISTED, MOST, Failures, Shot
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict, Verdict

IMAGE = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)


def shot(number: int, defects: int = 1, camera: str = "top") -> Shot:
    """The picture of a failed frame."""
    detections = found(*[(10.0 * n, 0.0, 10.0 * n + 5, 5.0) for n in range(defects)])
    result = Result(camera, number, ResultState.INSPECTED, "", 1_700_000_000_000_000_000, 0, (60, 80), 1.0, detections)
    return Shot.of(Picture(FrameVerdict(result, Verdict.FAIL, "1 defect", detections), IMAGE, 1.0))


def board(number: int, first: int, last: int, verdict: Verdict = Verdict.FAIL, camera: str = "top") -> BoardVerdict:
    """The verdict on a board of frames."""
    return BoardVerdict(camera, number, verdict, "why", last - first + 1, last - first + 1, numbers=(first, last))


def address(content: dict[str, str]) -> tuple[str, int]:
    """What stands in the address of a picture."""
    _, run, name = content["picture"].split("/")
    return run, int(name.removesuffix(".jpg"))


def test_the_newest_are_listed_first_and_their_pictures_are_there() -> None:
    failures = Failures(10_000_000)
    for number in range(LISTED + 5):
        failures.add_frame(shot(number))
    listed = failures.listed()
    assert [one["number"] for one in listed] == list(range(LISTED + 4, 4, -1))
    picture = failures.get(*address(listed[0]))
    assert picture is not None
    assert picture.picture.startswith(b"\xff\xd8")
    assert listed[0]["size"] == [80, 60]


def test_what_no_longer_fits_goes_oldest_first() -> None:
    size = len(shot(0).picture) + len(shot(0).small)
    failures = Failures(10 * size)
    for number in range(50):
        failures.add_frame(shot(number))
    listed = failures.listed()
    assert [one["number"] for one in listed] == list(range(49, 39, -1))
    assert failures.nbytes == 10 * size
    run, newest = address(listed[0])
    assert failures.get(run, newest - 10) is None


def test_one_is_kept_even_if_it_is_larger_than_the_bound() -> None:
    failures = Failures(1)
    failures.add_frame(shot(0))
    failures.add_frame(shot(1))
    assert [one["number"] for one in failures.listed()] == [1]


def test_their_number_is_bounded_too() -> None:
    failures = Failures(10_000_000)
    for number in range(MOST + 10):
        failures.add_board(board(number, number, number, Verdict.NOT_INSPECTED))
    assert len(failures._kept) == MOST


def test_an_address_of_another_run_leads_nowhere() -> None:
    failures, others = Failures(10_000), Failures(10_000)
    failures.add_frame(shot(0))
    others.add_frame(shot(0))
    assert others.get(*address(failures.listed()[0])) is None


def test_a_board_that_fails_has_the_picture_that_shows_the_most_defects() -> None:
    failures = Failures(10_000_000)
    for number, defects in ((1, 9), (10, 1), (11, 3), (12, 2)):
        failures.add_candidate(shot(number, defects))
    failures.add_candidate(shot(11, 5, camera="side"))
    failures.add_board(board(7, 10, 15))
    [told] = failures.listed()
    assert (told["board"], told["number"], told["verdict"], told["why"]) == (7, 11, "fail", "why")


@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.NOT_INSPECTED])
def test_frames_of_a_board_that_does_not_fail_are_no_failures(verdict: Verdict) -> None:
    failures = Failures(10_000_000)
    failures.add_candidate(shot(10))
    failures.add_board(board(7, 10, 15, verdict))
    assert [one["picture"] for one in failures.listed()] == ([None] if verdict == Verdict.NOT_INSPECTED else [])


def test_a_picture_that_comes_after_its_board_is_the_board_s() -> None:
    failures = Failures(10_000_000)
    failures.add_board(board(7, 10, 15))
    assert failures.listed()[0]["picture"] is None
    before = failures.version
    failures.add_candidate(shot(16))  # of the next one
    failures.add_candidate(shot(12, camera="side"))
    assert failures.listed()[0]["picture"] is None
    failures.add_candidate(shot(12))
    told = failures.listed()[0]
    assert (told["board"], told["number"]) == (7, 12)
    assert failures.get(*address(told)) is not None
    assert failures.version > before


def test_pictures_that_wait_for_their_board_are_few() -> None:
    failures = Failures(10_000_000)
    for number in range(100):
        failures.add_candidate(shot(number))
    assert len(failures._candidates["top"]) == CANDIDATES
    failures.add_board(board(1, 0, 98))
    assert len(failures._candidates["top"]) == 1


def test_a_board_of_which_no_frame_came_is_listed_without_one() -> None:
    failures = Failures(10_000_000)
    failures.add_board(BoardVerdict("top", 3, Verdict.NOT_INSPECTED, "no frame came in time"))
    [told] = failures.listed()
    assert (told["board"], told["verdict"], told["captured"], told["picture"]) == (3, "not inspected", None, None)
