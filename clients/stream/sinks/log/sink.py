"""The sink that writes a line's log; rows of a moment are one transaction."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import deque
from pathlib import Path
from typing import Any

from triton_yolo.clients.stream.events import Event
from triton_yolo.clients.stream.line import Line
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.sinks.log.schema import closed, opened_to_write
from triton_yolo.clients.stream.sinks.settings import LogSettings
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict, Verdict

BATCH = 1000  # rows of a transaction at most
ROOM = 50_000  # rows that wait while the file cannot be written; the oldest are lost where there are more
CHECKPOINT_SECONDS = 5.0  # between two moments at which what is written is on the disk, whatever the power does
TIDY_SECONDS = 60.0  # between two looks for rows that are too old
TIDY_ROWS = 5000  # that are removed at a time, so that no transaction takes long

BOARD = "INSERT INTO boards VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
FRAME = "INSERT INTO frames VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)"
DEFECT = "INSERT INTO defects VALUES (?, ?, ?, ?, ?, ?, ?)"

logger = logging.getLogger(__name__)

Row = tuple[BoardVerdict | FrameVerdict, int]  # and when its verdict came, in nanoseconds since 1970


class Log(Sink):
    """Writes a row for each board, and for each frame that failed or was not inspected.

    Attributes:
        written: rows of boards and frames that are in the file, whatever happens to this process.
        lost: rows that are not, since it could not be written for too long.
    """

    kind = "log"
    events = (BoardVerdict, FrameVerdict)
    period = 0.25

    def __init__(self, settings: LogSettings, line: str) -> None:
        """Begin.

        Args:
            settings: of the line's file.
            line: name of the line.

        Raises:
            LineError: the file cannot be made or written, or is something else.
        """
        self._path: Path = settings.path
        self._database = opened_to_write(settings.path, settings.synchronous)
        self._line, self._run_number = line, 0
        self._started = time.time_ns()
        self._waiting: deque[Row] = deque()
        self._age_ns = int(settings.keep_days * 86_400e9)
        self._tidied = self._checked = float("-inf")
        self._on_disk = 0
        self._trouble = ""
        self.written = self.lost = 0
        super().__init__()

    @classmethod
    def of(cls, settings: LogSettings, line: Line) -> Log:
        """See Sink."""
        return cls(settings, line.name)

    def put(self, event: Event) -> None:
        """See Sink; what is not written never waits in the queue."""
        if not (isinstance(event, FrameVerdict) and event.verdict == Verdict.PASS):
            super().put(event)

    def write(self, event: Event) -> None:
        """See Sink."""
        assert isinstance(event, BoardVerdict | FrameVerdict)
        self._waiting.append((event, time.time_ns()))
        if len(self._waiting) > ROOM:
            self._waiting.popleft()
            self.lost += 1
        if len(self._waiting) >= BATCH and not self._trouble:
            self._commit()

    def tick(self) -> None:
        """See Sink."""
        while self._waiting and self._commit():
            pass
        if time.monotonic() - self._checked > CHECKPOINT_SECONDS and self._on_disk != self.written:
            self._checkpoint()
        if time.monotonic() - self._tidied > TIDY_SECONDS and not self._trouble and not self._tidy():
            self._tidied = time.monotonic()

    def finish(self) -> None:
        """See Sink."""
        while self._waiting and self._commit():
            pass
        self.lost += len(self._waiting)
        closed(self._database)

    def status(self) -> dict[str, Any]:
        """See Sink."""
        counts = {"written": self.written, "waiting": len(self._waiting), "lost": self.lost}
        return {**counts, **({"trouble": self._trouble} if self._trouble else {})}

    def _commit(self) -> bool:
        """Write what waits, all of it or nothing, and return whether it was written."""
        rows = [self._waiting[place] for place in range(min(BATCH, len(self._waiting)))]
        if not self._did(lambda: self._insert(rows)):
            return False
        for _ in rows:
            self._waiting.popleft()
        self.written += len(rows)
        return True

    def _did(self, work: Any) -> bool:
        """Do something in one transaction, and return whether it was done."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            work()
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.rollback()
            self._failed(str(error))
            return False
        if self._trouble:
            logger.warning("log: %s is written again; %d rows were lost", self._path, self.lost)
            self._trouble = ""
        return True

    def _failed(self, words: str) -> None:
        if words != self._trouble:
            self._trouble = words
            logger.warning("log: %s: %s; %d rows wait for it, and the oldest are lost then", self._path, words, ROOM)

    def _insert(self, rows: list[Row]) -> None:
        run = self._run_number or self._new_run()
        boards = [_board(run, event, now) for event, now in rows if isinstance(event, BoardVerdict)]
        self._database.executemany(BOARD, boards)
        for event, now in rows:
            if isinstance(event, FrameVerdict):
                frame = self._database.execute(FRAME, _frame(run, event, now)).lastrowid
                if event.defects is not None:
                    found = event.defects
                    each = zip(found.names, found.scores.tolist(), found.boxes.tolist(), strict=True)
                    self._database.executemany(DEFECT, [(frame, name, score, *box) for name, score, box in each])
        self._run_number = run

    def _new_run(self) -> int:
        run = self._database.execute("INSERT INTO runs VALUES (NULL, ?, ?)", (self._line, self._started)).lastrowid
        assert run
        return run

    def _checkpoint(self) -> None:
        """Bring the journal into the file, and both onto the disk."""
        written = self.written
        try:
            self._database.execute("PRAGMA wal_checkpoint(PASSIVE)")  # which waits for no reader
        except sqlite3.Error as error:
            self._failed(str(error))
        else:
            self._checked, self._on_disk = time.monotonic(), written

    def _tidy(self) -> bool:
        """Remove some rows that are too old, and return whether there may be more."""
        oldest, removed = time.time_ns() - self._age_ns, list[int]()

        def work() -> None:
            for table in ("boards", "frames"):
                old = f"SELECT id FROM {table} WHERE at_ns < ? ORDER BY at_ns LIMIT {TIDY_ROWS}"
                removed.append(self._database.execute(f"DELETE FROM {table} WHERE id IN ({old})", (oldest,)).rowcount)

        return self._did(work) and TIDY_ROWS in removed


def _board(run: int, board: BoardVerdict, now: int) -> tuple[Any, ...]:
    """Return the row of a board."""
    worst, score = board.worst or (None, None)
    first, last = board.numbers or (None, None)
    return (
        *(run, board.camera, board.board, board.last_ns or now, board.verdict.value, board.why),
        *(board.frames, board.inspected, board.defects, worst, score, first, last, board.first_ns or None),
        board.reused,
    )


def _frame(run: int, frame: FrameVerdict, now: int) -> tuple[Any, ...]:
    """Return the row of a frame."""
    result = frame.result
    at = result.captured_ns or now
    age = None if result.detections is None else result.age
    return run, result.camera, result.number, at, frame.verdict.value, frame.why, result.latency_ms, age
