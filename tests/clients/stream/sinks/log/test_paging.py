"""The newest boards of a log piece by piece, and the frames of one."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.stream.results import inspected, late, lost, one
from tests.clients.stream.sinks.log.test_log import feed, log
from triton_yolo.clients.stream.judge import Judge
from triton_yolo.clients.stream.rules import VerdictSettings
from triton_yolo.clients.stream.sinks.log.paging import Place, board, frame, frames_of, kinds, newest
from triton_yolo.clients.stream.sinks.log.query import Question
from triton_yolo.clients.stream.sinks.log.schema import opened_to_read


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    database = opened_to_read(path)
    yield database
    database.close()


def pieces(database: sqlite3.Connection, question: Question, between: Callable[[], None] = lambda: None) -> list[int]:
    """Numbers of boards, in pieces of four."""
    found: list[int] = []
    below = None
    while piece := newest(database, question, below, 4):
        found += [entry.row.board for entry in piece]
        below = Place.read(str(piece[-1].place))
        between()
    return found


def test_pieces_have_each_board_once_also_where_times_are_the_same_and_boards_come_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    sink, now = log(path), time.time_ns()
    feed(sink, *(inspected(number, captured=now + number // 5) for number in range(23)))
    sink.close()

    def more() -> None:
        sink = log(path, "another")
        feed(sink, *(inspected(number, captured=now + 1000) for number in range(3)))
        sink.close()

    with reading(path) as database:
        assert pieces(database, Question(), more) == list(range(23, 0, -1))


def test_pieces_have_what_is_asked_for_alone(tmp_path: Path) -> None:
    sink, now = log(tmp_path / "log.db"), time.time_ns()
    feed(sink, *(inspected(number, *([one()] if number % 3 else []), captured=now + number) for number in range(20)))
    sink.close()

    with reading(tmp_path / "log.db") as database:
        assert pieces(database, Question(verdicts=["pass"])) == [19, 16, 13, 10, 7, 4, 1]
        assert pieces(database, Question(since_ns=now + 15, until_ns=now + 18)) == [18, 17, 16]
        assert pieces(database, Question(cameras=["side"])) == []
        assert kinds(database, Question()) == [("top", "fail", "open", 13), ("top", "pass", None, 7)]


def test_a_board_has_its_frames_those_with_the_most_defects_first(tmp_path: Path) -> None:
    judge = Judge(VerdictSettings(boards="trigger", frames_per_board=5))
    judge.changed("top", "running", "", 0)
    sink = log(tmp_path / "log.db")
    for first in (0, 5, 10):
        judge.trigger()
        now = time.monotonic_ns()
        feed(
            sink,
            inspected(first, captured=now),
            inspected(first + 1, one(), captured=now + 1),
            late(first + 2),
            inspected(first + 3, one(), one("spur", x=70), captured=now + 3),
            lost(first + 4),
            judge=judge,
        )
    sink.close()

    with reading(tmp_path / "log.db") as database:
        entry = newest(database, Question(), None, 2)[1]
        assert (entry.row.board, entry.first, entry.last) == (2, 5, 9)
        found = frames_of(database, entry)
        assert [one.number for one in found][:2] == [8, 6]
        assert board(database, entry.id) == entry
        assert frame(database, found[0].id) == found[0]
        assert board(database, 99) is None
        assert frame(database, 99) is None


@pytest.mark.parametrize("text", ["", "5", "5.", ".5", "-1.5", "1.5.6", "1e3.5", "٣.٤x", "9" * 41 + ".1"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no place in a log"):
        Place.read(text)
