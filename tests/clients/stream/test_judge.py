"""Boards: which frames are of one, when its verdict is given, and what that is."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.clients.stream.memory import Memory
from tests.clients.stream.results import inspected, late, lost, one
from triton_yolo.clients.memory.ring import Capture
from triton_yolo.clients.stream.frames import Frame, Result
from triton_yolo.clients.stream.judge import MOST_TRIGGERS, Judge
from triton_yolo.clients.stream.rules import VerdictSettings
from triton_yolo.clients.stream.verdict import BoardVerdict, Verdict

HEIGHT, WIDTH = 96, 128
BELT = np.random.default_rng(0).integers(0, 256, (HEIGHT, 40 * WIDTH, 3), np.uint8)


class Played:
    """A line whose frames come as the test says."""

    def __init__(self, **settings: Any) -> None:
        self.now = 1000.0
        self.judge = Judge(VerdictSettings.model_validate(settings), lambda: self.now)
        self.judge.changed("top", "running", "", 0)
        self.given: list[BoardVerdict] = []

    def frame(self, result: Result, along: int | None = None) -> list[BoardVerdict]:
        """Let a frame come, of a belt that has moved so many pixels; None for one that nobody sees."""
        if along is not None:
            pixels = np.ascontiguousarray(BELT[:, along : along + WIDTH])
            capture = Capture(0, 0, result.number, 0, 0, pixels.size, HEIGHT, WIDTH, 0)
            self.judge.see(Frame(result.camera, capture, "rgb", Memory(pixels)))
        verdicts = self.judge.boards(self.judge.frame(result))
        self.given += verdicts
        return verdicts

    def belt(self, along: Sequence[int], begin: int = 0) -> list[BoardVerdict]:
        """Let good frames come, of a belt at these places."""
        return [v for number, place in enumerate(along, begin) for v in self.frame(inspected(number), place)]


def short(verdicts: Sequence[BoardVerdict]) -> list[tuple[int, str, str]]:
    return [(verdict.board, verdict.verdict.value, verdict.why) for verdict in verdicts]


def test_without_rules_each_frame_is_a_board() -> None:
    played = Played()

    first, second, third = (played.frame(result)[0] for result in (inspected(0), inspected(1, one()), late(2)))

    assert (first.board, first.verdict, first.why, first.frames, first.inspected) == (1, Verdict.PASS, "", 1, 1)
    assert (second.board, second.verdict, second.why, second.defects) == (2, Verdict.FAIL, "1 defect", 1)
    assert second.worst == ("open", pytest.approx(0.9))
    assert second.numbers == (1, 1)
    assert second.first_ns == second.last_ns == inspected(1).captured_ns
    assert (third.verdict, third.why, third.inspected) == (Verdict.NOT_INSPECTED, "late", 0)
    assert third.worst is None
    assert not played.judge.finish()


# A board of a trigger has as many frames as ``frames_per_board`` says.
@pytest.mark.parametrize(
    ("settings", "results", "verdict", "why", "defects"),
    [
        # Nothing inspected, half of it, all of it.
        ({}, [late(0), late(1), lost(2), late(3)], "not inspected", "0 of 4 frames were inspected: late", 0),
        ({}, [late(0), inspected(1), late(2), inspected(3)], "pass", "", 0),
        ({}, [late(0), inspected(1), late(2), lost(3)], "not inspected", "1 of 4 frames were inspected: late", 0),
        ({"min_share": 0}, [late(0), late(1), lost(2), inspected(3)], "pass", "", 0),
        (
            {"min_share": 0},
            [late(0), late(1), lost(2), late(3)],
            "not inspected",
            "0 of 4 frames were inspected: late",
            0,
        ),
        ({"min_share": 1}, [inspected(0), inspected(1), inspected(2), inspected(3)], "pass", "", 0),
        (
            {"min_share": 1},
            [inspected(0), inspected(1), inspected(2), late(3)],
            "not inspected",
            "3 of 4 frames were inspected: late",
            0,
        ),
        (
            {"min_frames": 3},
            [inspected(0), inspected(1), late(2), late(3)],
            "not inspected",
            "2 of 4 frames were inspected: late",
            0,
        ),
        # What has failed has failed, however much of it was not inspected.
        ({"min_share": 1}, [late(0), inspected(1, one()), late(2), late(3)], "fail", "1 defect in 1 of 4 frames", 1),
        # In how many frames.
        (
            {"rules": [{"frames": 2}]},
            [inspected(0, one()), inspected(1), inspected(2), inspected(3)],
            "pass",
            "",
            0,
        ),
        (
            {"rules": [{"frames": 2}]},
            [inspected(0, one()), inspected(1), inspected(2, one(), one("spur")), inspected(3)],
            "fail",
            "2 defects in 2 of 4 frames",
            2,
        ),
        # A rule that needs more frames than were inspected could not have failed the board.
        (
            {"rules": [{"frames": 3}], "min_share": 0},
            [inspected(0), inspected(1), late(2), late(3)],
            "not inspected",
            "2 of 4 frames were inspected: late",
            0,
        ),
    ],
)
def test_the_verdict_on_a_board(
    settings: dict[str, Any], results: list[Result], verdict: str, why: str, defects: int
) -> None:
    played = Played(boards="trigger", frames_per_board=4, **settings)
    played.judge._cameras["top"].triggers.append((0, 1))

    for result in results:
        played.frame(result)

    [board] = played.given
    assert (board.verdict, board.why, board.defects) == (Verdict(verdict), why, defects)
    assert board.frames == 4
    assert board.inspected == sum(result.detections is not None for result in results)
    assert (board.worst is None) == (verdict != "fail")
    assert board.numbers == (0, 3)


def test_the_worst_defect_is_of_a_rule_that_the_board_has_failed_by() -> None:
    rules = [{"classes": ["open"], "frames": 2}, {"classes": ["short"], "frames": 3}]
    played = Played(boards="trigger", frames_per_board=3, rules=rules)
    played.judge._cameras["top"].triggers.append((0, 1))

    for number in range(3):
        played.frame(inspected(number, *([one("open", 0.5 + number / 10), one("short", 0.99)] if number < 2 else [])))

    [board] = played.given
    assert board.worst == ("open", pytest.approx(0.6))
    assert board.why == "1 open in 2 of 3 frames"


STAND, MOVE, STAND_AGAIN = [0] * 5, [20, 60, 110], [128] * 5


def test_boards_are_told_apart_by_motion() -> None:
    played = Played(boards="motion")

    assert not played.belt(STAND)
    [first] = played.belt(MOVE, 5)
    assert not played.belt(STAND_AGAIN, 8)
    [second] = played.judge.finish()

    # The first two frames that do not differ from those before them are waited for.
    assert (first.board, first.verdict, first.frames, first.numbers) == (1, Verdict.PASS, 3, (2, 4))
    assert (second.board, second.verdict, second.frames, second.numbers) == (2, Verdict.PASS, 3, (10, 12))


def test_the_verdict_on_a_board_that_stands_can_come_before_it_moves() -> None:
    played = Played(boards="motion", frames_per_board=2)

    [first] = played.belt([0] * 9)
    assert not played.belt(MOVE, 9)
    [second] = played.belt([128] * 9, 12)

    assert (first.board, first.numbers) == (1, (2, 3))
    assert (second.board, second.numbers) == (2, (14, 15))
    assert not played.judge.finish()


def test_a_board_that_moves_on_too_early_was_not_inspected_enough() -> None:
    played = Played(boards="motion", frames_per_board=10)

    [board] = played.belt([*STAND, *MOVE])

    assert (board.verdict, board.why) == (Verdict.NOT_INSPECTED, "3 of 10 frames were inspected")


def test_frames_that_nobody_has_seen_are_of_the_board_that_stands_and_change_of_board_behind_them_is_seen() -> None:
    played = Played(boards="motion")

    played.belt(STAND)
    assert not [v for number in range(5, 9) for v in played.frame(lost(number))]
    [first] = played.frame(inspected(9), 128)  # it moved meanwhile

    assert (first.frames, first.inspected) == (7, 3)
    assert (first.verdict, first.why) == (Verdict.NOT_INSPECTED, "3 of 7 frames were inspected: source lost")


def test_a_camera_that_dies_in_the_middle_of_a_board_leaves_it_not_inspected() -> None:
    played = Played(boards="motion")
    played.belt(STAND)

    # Frame 5 was captured and is in flight: the board ends when its result is there.
    assert not played.judge.changed("top", "waiting", "it was unplugged", 6)
    [board] = played.frame(inspected(5), 0)

    assert (board.verdict, board.why) == (Verdict.NOT_INSPECTED, "the camera was lost: it was unplugged")
    assert (board.frames, board.inspected) == (4, 4)
    # The camera comes back: what stands now is another board.
    played.judge.changed("top", "running", "", 6)
    played.belt(STAND, 6)
    [again] = played.judge.finish()
    assert (again.board, again.verdict, again.numbers) == (2, Verdict.PASS, (8, 10))


def test_a_camera_that_dies_leaves_a_board_failed_that_has_failed_already() -> None:
    played = Played(boards="motion")
    played.belt(STAND)
    played.frame(inspected(5, one()), 0)

    [board] = played.judge.changed("top", "failed", "it was unplugged", 6)

    assert (board.verdict, board.why) == (Verdict.FAIL, "1 defect in 1 of 4 frames")


def test_a_file_that_ends_leaves_a_board_that_is_judged_by_its_frames() -> None:
    played = Played(boards="motion")
    played.belt(STAND[:4])

    assert not played.judge.changed("top", "ended", "", 5)
    [board] = played.frame(inspected(4), 0)

    assert (board.verdict, board.frames) == (Verdict.PASS, 3)


def test_a_trigger_begins_a_board_of_the_frames_that_are_captured_from_then_on() -> None:
    played = Played(boards="trigger", frames_per_board=2)
    before, number = time.monotonic_ns() - 1, played.judge.trigger("top")

    assert number == {"top": 1}
    now = time.monotonic_ns()
    assert not played.frame(inspected(0, one(), captured=before))
    assert not played.frame(inspected(1, captured=now))
    [board] = played.frame(inspected(2, captured=now))
    assert (board.board, board.verdict, board.numbers) == (1, Verdict.PASS, (1, 2))
    assert not played.frame(inspected(3, one(), captured=now))
    assert not played.judge.finish()


def test_a_camera_that_is_faster_than_its_trigger_loses_no_frame_to_the_next_board() -> None:
    played = Played(boards="trigger", early_ms=1000)
    now = time.monotonic_ns()

    # The result of the first is there before its trigger, the second comes while its trigger waits.
    assert not played.frame(inspected(0, captured=now))
    assert played.judge.trigger() == {"top": 1}
    [first] = played.judge.due()
    played.judge.trigger()
    [second] = played.frame(inspected(1, one(), captured=time.monotonic_ns() - 1000))
    assert not played.frame(inspected(2, captured=time.monotonic_ns()))

    assert short([first]) == [(1, "pass", "")]
    assert short([second]) == [(2, "fail", "1 defect")]
    assert first.numbers == (0, 0)
    assert not played.judge.due()


def test_a_frame_that_is_too_early_is_of_no_board() -> None:
    played = Played(boards="trigger", early_ms=10)
    long_ago = time.monotonic_ns() - 10**9

    played.frame(inspected(0, one(), captured=long_ago))
    played.judge.trigger()
    played.frame(inspected(1, one(), captured=long_ago + 1000))
    [board] = played.frame(inspected(2, captured=time.monotonic_ns()))

    assert (board.verdict, board.numbers) == (Verdict.PASS, (2, 2))


def test_frames_that_no_trigger_comes_for_are_not_kept() -> None:
    played = Played(boards="trigger", early_ms=1)

    for number in range(1000):
        played.frame(inspected(number, captured=time.monotonic_ns() - 10**9))

    assert not played.judge._cameras["top"].loose


def test_a_trigger_ends_the_board_before() -> None:
    played = Played(boards="trigger", frames_per_board=3)
    played.judge.trigger()
    played.frame(inspected(0, captured=time.monotonic_ns()))
    played.judge.trigger()
    played.judge.trigger()

    boards = played.frame(inspected(1, captured=time.monotonic_ns()))

    assert short(boards) == [
        (1, "not inspected", "1 of 3 frames were inspected"),
        (2, "not inspected", "0 of 3 frames were inspected"),
    ]


def test_a_frame_that_nobody_has_seen_is_of_the_board_that_was_announced() -> None:
    played = Played(boards="trigger")
    played.judge.trigger()
    played.judge.trigger()

    first, second = (played.frame(lost(number)) for number in range(2))

    assert short(first) == [(1, "not inspected", "source lost")]
    assert short(second) == [(2, "not inspected", "source lost")]


def test_boards_whose_frames_do_not_come_are_not_inspected_after_a_while() -> None:
    played = Played(boards="trigger", patience_s=2)
    played.now += 100
    played.judge.trigger()
    assert not played.judge.due()
    played.now += 2.1

    assert short(played.judge.due()) == [(1, "not inspected", "no frame came in time")]
    assert not played.judge.due()


def test_a_board_that_a_dead_camera_is_to_inspect_is_not_inspected_at_once() -> None:
    played = Played(boards="trigger")
    played.judge.changed("top", "waiting", "it was unplugged", 0)
    played.judge.trigger()

    assert short(played.judge.due()) == [(1, "not inspected", "the camera delivers nothing: it was unplugged")]


def test_boards_that_were_announced_are_not_inspected_when_the_line_ends() -> None:
    played = Played(boards="trigger")
    played.judge.trigger()

    assert short(played.judge.finish()) == [(1, "not inspected", "the line ended")]


@pytest.mark.parametrize("boards", ["frame", "motion"])
def test_triggers_mean_nothing_where_boards_are_told_apart_otherwise(boards: str) -> None:
    assert Played(boards=boards).judge.trigger() == {}


def test_triggers_of_no_camera_and_too_many_of_them_are_refused() -> None:
    played = Played(boards="trigger")
    played.judge.changed("gone", "ended", "", 0)

    assert played.judge.trigger("side") == {}
    assert played.judge.trigger("gone") == {}
    assert played.judge.trigger("../top") == {}
    numbers = [played.judge.trigger() for _ in range(MOST_TRIGGERS + 10)]

    assert numbers == [{"top": number} for number in range(1, MOST_TRIGGERS + 1)] + [{}] * 10


def test_triggers_may_come_in_any_thread_while_frames_come() -> None:
    played, taken = Played(boards="trigger"), list[int]()
    done = threading.Event()

    def press() -> None:
        while not done.is_set():
            taken.extend(played.judge.trigger().values())

    threads = [threading.Thread(target=press) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(2000):
        played.frame(inspected(number, captured=time.monotonic_ns()))
    done.set()
    for thread in threads:
        thread.join()
    boards = [verdict.board for verdict in (*played.given, *played.judge.finish())]

    assert boards == list(range(1, len(boards) + 1))
    assert sorted(taken) == boards
