"""Questions of the log's page: the newest boards piece by piece, what there are of which kind, and a board's frames."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from triton_yolo.clients.stream.sinks.log.query import BOARD_COLUMNS, WORST, BoardRow, Question

MOST_FRAMES = 500  # of a board
SLACK_NS = 10_000_000_000  # that a frame whose capture nobody knows may be later than its board


class Place(NamedTuple):
    """Where a board stands in the log: the next piece begins below it."""

    at_ns: int
    board: int

    @classmethod
    def read(cls, text: str) -> Place:
        """Return a place of what ``str`` has made of it.

        Raises:
            ValueError: it is none.
        """
        at_ns, _, board = text.partition(".")
        if not (at_ns.isdecimal() and board.isdecimal() and len(text) <= 40):
            raise ValueError(f"{text[:50]!r} is no place in a log")
        return cls(int(at_ns), int(board))

    def __str__(self) -> str:
        return f"{self.at_ns}.{self.board}"


class Entry(NamedTuple):
    """A board, and where its frames are found: numbers of the first and the last one, None if it has none."""

    id: int
    run: int
    first: int | None
    last: int | None
    row: BoardRow

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.row.at_ns, self.id)


class LoggedFrame(NamedTuple):
    """A frame that failed or was not inspected."""

    id: int
    camera: str
    number: int
    at_ns: int
    verdict: str
    why: str
    latency_ms: float | None
    age: int | None


def newest(database: sqlite3.Connection, question: Question, below: Place | None, count: int) -> list[Entry]:
    """Return boards, the newest first.

    Args:
        database: the log.
        question: which boards.
        below: where the piece before ended; None for the first piece.
        count: how many at most.

    Raises:
        sqlite3.Error: the file cannot be read, or not in time.
    """
    where, values = question.where(WORST)
    if below:
        where, values = f"{where} AND (t.at_ns, t.id) < (?, ?)", [*values, *below]
    return _entries(database, f"{where} ORDER BY t.at_ns DESC, t.id DESC LIMIT ?", [*values, count])


def board(database: sqlite3.Connection, number: int) -> Entry | None:
    """Return a board by its id; None if there is none.

    Raises:
        sqlite3.Error: the file cannot be read, or not in time.
    """
    return next(iter(_entries(database, "t.id = ?", [number])), None)


def kinds(database: sqlite3.Connection, question: Question) -> list[tuple[str, str, str | None, int]]:
    """Return camera, verdict and class of the worst defect of all boards that are asked for, and how many are so.

    Raises:
        sqlite3.Error: the file cannot be read, or not in time.
    """
    where, values = question.where(WORST)
    return database.execute(
        f"SELECT t.camera, t.verdict, t.worst, count(*) FROM boards t WHERE {where} GROUP BY 1, 2, 3", values
    ).fetchall()


def frames_of(database: sqlite3.Connection, entry: Entry) -> list[LoggedFrame]:
    """Return the frames of a board that failed or were not inspected, those with the most defects first.

    Raises:
        sqlite3.Error: the file cannot be read, or not in time.
    """
    begin, end = entry.row.first_ns or entry.row.at_ns, entry.row.at_ns
    rows = database.execute(
        f"SELECT {', '.join(LoggedFrame._fields)} FROM frames t WHERE t.at_ns BETWEEN ? AND ? "
        "AND t.run = ? AND t.camera = ? AND t.number BETWEEN ? AND ? "
        "ORDER BY (SELECT count(*) FROM defects d WHERE d.frame = t.id) DESC, t.number LIMIT ?",
        (begin - SLACK_NS, end + SLACK_NS, entry.run, entry.row.camera, entry.first, entry.last, MOST_FRAMES),
    )
    return [LoggedFrame(*row) for row in rows]


def frame(database: sqlite3.Connection, number: int) -> LoggedFrame | None:
    """Return a frame by its id; None if there is none.

    Raises:
        sqlite3.Error: the file cannot be read, or not in time.
    """
    row = database.execute(f"SELECT {', '.join(LoggedFrame._fields)} FROM frames WHERE id = ?", (number,)).fetchone()
    return LoggedFrame(*row) if row else None


def _entries(database: sqlite3.Connection, rest: str, values: list[object]) -> list[Entry]:
    rows = database.execute(
        f"SELECT t.id, t.run, t.first_number, t.last_number, {BOARD_COLUMNS} "
        f"FROM boards t JOIN runs ON runs.id = t.run WHERE {rest}",
        values,
    )
    return [Entry(number, run, first, last, BoardRow(*row)) for number, run, first, last, *row in rows]
