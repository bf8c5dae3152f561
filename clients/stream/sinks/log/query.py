"""Questions to a line's log: which boards, or which frames, of a time, a camera and a verdict."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Question:
    """What is asked for.

    Attributes:
        since_ns: begin, in nanoseconds since 1970; None for the first row.
        until_ns: end, which is not in it; None for the last row.
        cameras: names of cameras; all if empty.
        verdicts: values of Verdict; all if empty.
        classes: classes of the worst defect of a board, or of any defect of a frame; all if empty.
    """

    since_ns: int | None = None
    until_ns: int | None = None
    cameras: Sequence[str] = ()
    verdicts: Sequence[str] = ()
    classes: Sequence[str] = ()

    def where(self, classes: str) -> tuple[str, list[Any]]:
        """Return the condition in SQL, and its values.

        Args:
            classes: condition on classes, with {} for their marks.
        """
        parts, values = ["1"], list[Any]()
        for part, value in (("t.at_ns >= ?", self.since_ns), ("t.at_ns < ?", self.until_ns)):
            if value is not None:
                parts.append(part)
                values.append(value)
        for part, names in (
            ("t.camera IN ({})", self.cameras),
            ("t.verdict IN ({})", self.verdicts),
            (classes, self.classes),
        ):
            if names:
                parts.append(part.format(", ".join("?" * len(names))))
                values += names
        return " AND ".join(parts), values


class BoardRow(NamedTuple):
    """A board; what has the name of an attribute of BoardVerdict is that."""

    line: str
    at_ns: int
    camera: str
    board: int
    verdict: str
    why: str
    frames: int
    inspected: int
    defects: int
    worst: str | None
    score: float | None
    first_ns: int | None
    reused: int | None


class FrameRow(NamedTuple):
    """A frame that failed or was not inspected; ``board`` is the number of the board that it is of, if of one.

    ``found`` has its defects: class and score of each, the highest score first. ``age`` says how many frames before it
    they were found; None where it was not inspected, or by a version that did not log it.
    """

    line: str
    at_ns: int
    camera: str
    number: int
    board: int | None
    verdict: str
    why: str
    latency_ms: float | None
    age: int | None
    found: tuple[tuple[str, float], ...]


WORST = "t.worst IN ({})"  # what a class asks of a board
BOARD_COLUMNS = ", ".join("runs.line" if name == "line" else f"t.{name}" for name in BoardRow._fields)


def boards(database: sqlite3.Connection, question: Question) -> Iterator[BoardRow]:
    """Yield boards, the oldest first.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    where, values = question.where(WORST)
    rows = database.execute(
        f"SELECT {BOARD_COLUMNS} FROM boards t JOIN runs ON runs.id = t.run WHERE {where} ORDER BY t.at_ns, t.id",
        values,
    )
    return (BoardRow(*row) for row in rows)


def frames(database: sqlite3.Connection, question: Question) -> Iterator[FrameRow]:
    """Yield frames, the oldest first.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    where, values = question.where("EXISTS (SELECT 1 FROM defects d WHERE d.frame = t.id AND d.class IN ({}))")
    rows = database.execute(
        "SELECT t.id, runs.line, t.at_ns, t.camera, t.number, ("
        "  SELECT CASE WHEN b.last_number >= t.number THEN b.board END FROM boards b"
        "  WHERE b.run = t.run AND b.camera = t.camera AND b.first_number <= t.number"
        "  ORDER BY b.first_number DESC LIMIT 1"
        "), t.verdict, t.why, t.latency_ms, t.age FROM frames t JOIN runs ON runs.id = t.run "
        f"WHERE {where} ORDER BY t.at_ns, t.id",
        values,
    )
    for number, *row in rows:
        yield FrameRow._make([*row, tuple(defects(database, number))])


def defects(database: sqlite3.Connection, frame: int) -> list[tuple[str, float]]:
    """Return class and score of the defects of a frame, the highest score first.

    Args:
        database: the log.
        frame: id of the frame there.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    return database.execute("SELECT class, score FROM defects WHERE frame = ? ORDER BY score DESC", (frame,)).fetchall()


def counts(database: sqlite3.Connection, question: Question) -> Counter[str]:
    """Return how many boards have each verdict.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    where, values = question.where(WORST)
    rows = database.execute(f"SELECT t.verdict, count(*) FROM boards t WHERE {where} GROUP BY t.verdict", values)
    return Counter(dict(rows.fetchall()))
