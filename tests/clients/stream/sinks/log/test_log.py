"""The log's file: what is in it, whatever happens to who writes it."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.clients.stream.results import SECOND, inspected, late, lost, one
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.frames import Result
from triton_yolo.clients.stream.judge import Judge
from triton_yolo.clients.stream.rules import VerdictSettings
from triton_yolo.clients.stream.sinks.log import sink as module
from triton_yolo.clients.stream.sinks.log.query import Question, boards, frames
from triton_yolo.clients.stream.sinks.log.schema import APPLICATION, VERSION, opened_to_read
from triton_yolo.clients.stream.sinks.log.sink import Log
from triton_yolo.clients.stream.sinks.settings import LogSettings

DAY = 86_400 * SECOND


def log(path: Path, line: str = "line-3", **settings: Any) -> Log:
    long = {"keep_days": 36_500}  # made-up frames are of 1970
    return Log(LogSettings.model_validate({"kind": "log", "path": path, **long, **settings}), line)


def feed(sink: Log, *results: Result, judge: Judge | None = None) -> None:
    """Let frames come, each of which is a board unless the judge says otherwise."""
    judge = judge or Judge()
    for result in results:
        verdict = judge.frame(result)
        for event in (verdict, *judge.boards(verdict)):
            sink.put(event)


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_boards_bad_frames_and_defects_have_rows(tmp_path: Path) -> None:
    sink, now = log(tmp_path / "new" / "log.db"), time.time_ns()
    feed(
        sink,
        inspected(0, captured=now),
        inspected(1, one("open", 0.75), one("spur", 0.5), captured=now + 1000),
        late(2),
        lost(3),
    )
    sink.close()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["log.db"]

    with_all = Question()
    database = opened_to_read(tmp_path / "new" / "log.db")
    found, bad = list(boards(database, with_all)), list(frames(database, with_all))
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert database.execute("SELECT class, score, x1, y1, x2, y2 FROM defects").fetchall() == [
        ("open", 0.75, 45.0, 45.0, 55.0, 55.0),
        ("spur", 0.5, 45.0, 45.0, 55.0, 55.0),
    ]
    database.close()
    by_number = {row.board: row for row in found}
    assert sorted(by_number) == [1, 2, 3, 4]
    assert by_number[1]._asdict() == {
        "line": "line-3",
        "at_ns": now,
        "camera": "top",
        "board": 1,
        "verdict": "pass",
        "why": "",
        "frames": 1,
        "inspected": 1,
        "defects": 0,
        "worst": None,
        "score": None,
        "first_ns": now,
        "reused": 0,
    }
    assert (by_number[2].verdict, by_number[2].why, by_number[2].defects) == ("fail", "2 defects", 2)
    assert (by_number[2].worst, by_number[2].score) == ("open", 0.75)
    assert by_number[4].at_ns >= now  # nobody knows when it was captured: the time of the verdict
    assert [
        (row.number, row.board, row.verdict, row.why, row.found) for row in sorted(bad, key=lambda r: r.number)
    ] == [
        (1, 2, "fail", "2 defects", (("open", 0.75), ("spur", 0.5))),
        (2, 3, "not inspected", "late", ()),
        (3, 4, "not inspected", "source lost", ()),
    ]
    assert sink.status() == {"written": 7, "waiting": 0, "lost": 0}


def test_frames_know_their_board_and_those_between_boards_know_none(tmp_path: Path) -> None:
    judge = Judge(VerdictSettings(boards="trigger", frames_per_board=2))
    judge.changed("top", "running", "", 0)
    sink = log(tmp_path / "log.db")
    for number in range(6):
        if number in (1, 4):
            judge.trigger()
        feed(sink, inspected(number, one(), captured=time.monotonic_ns()), judge=judge)
    sink.close()

    database = opened_to_read(tmp_path / "log.db")
    assert [(row.number, row.board) for row in frames(database, Question())] == [
        *[(0, None), (1, 1), (2, 1), (3, None), (4, 2), (5, 2)]
    ]
    database.close()


def test_a_later_start_and_another_line_add_to_the_file(tmp_path: Path) -> None:
    for line in ("left", "right", "left"):
        sink = log(tmp_path / "log.db", line)
        feed(sink, inspected(0, one()))
        sink.close()

    database = opened_to_read(tmp_path / "log.db")
    assert [row.line for row in boards(database, Question())] == ["left", "right", "left"]
    assert [(row.line, row.board) for row in frames(database, Question())] == [("left", 1), ("right", 1), ("left", 1)]
    database.close()


def test_two_lines_may_write_one_file_at_once(tmp_path: Path) -> None:
    first, second = log(tmp_path / "log.db", "first"), log(tmp_path / "log.db", "second")
    for number in range(2000):
        feed(first, inspected(number, one()))
        feed(second, inspected(number, one()))
    first.close()
    second.close()

    database = opened_to_read(tmp_path / "log.db")
    assert [first.status(), second.status()] == [{"written": 4000, "waiting": 0, "lost": 0}] * 2
    assert len(list(boards(database, Question()))) == 4000
    database.close()


def test_the_log_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    sink = log(tmp_path / "log.db")
    feed(sink, inspected(0))
    until(lambda: sink.status()["written"])

    database = opened_to_read(tmp_path / "log.db")
    assert len(list(boards(database, Question()))) == 1
    feed(sink, inspected(1))
    until(lambda: len(list(boards(database, Question()))) == 2)
    database.close()
    sink.close()


WRITER = """
import itertools, sys
from pathlib import Path
from tests.clients.stream.results import inspected, one
from tests.clients.stream.sinks.log.test_log import Judge, feed, log
sink = log(Path(sys.argv[1]))
sink.period = 0.01
judge = Judge()
for number in itertools.count():
    feed(sink, inspected(number, one(), one("short")), judge=judge)
    if number % 10 == 0:
        print(sink.written, flush=True)
    while sink.queued > 100:
        pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("synchronous", ["normal", "full"])
def test_the_log_survives_kill_9_at_any_moment(tmp_path: Path, synchronous: str) -> None:
    path, said, rng = tmp_path / "log.db", 0, random.Random(0)
    for attempt in range(8):
        program = WRITER.replace("log(Path(sys.argv[1]))", f"log(Path(sys.argv[1]), synchronous={synchronous!r})")
        process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        first = process.stdout.readline()
        while attempt % 2 and not int(first):  # in every second one something is written, whatever the machine does
            first = process.stdout.readline()
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        last = [first, *process.stdout.read().splitlines(keepends=True)]
        process.wait()
        process.stdout.close()
        whole = [int(line) for line in last if line.endswith("\n")]

        database = sqlite3.connect(path)
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        runs = database.execute("SELECT max(id) FROM runs").fetchone()[0]
        numbers = [row[0] for row in database.execute("SELECT number FROM frames WHERE run = ? ORDER BY id", (runs,))]
        seen = [row[0] for row in database.execute("SELECT board FROM boards WHERE run = ? ORDER BY id", (runs,))]
        defects = database.execute("SELECT count(*) FROM defects").fetchone()[0]
        written = database.execute("SELECT count(*) FROM frames").fetchone()[0]
        database.close()
        # Nothing is missing in between, nothing stands twice, and what was said to be written is there.
        assert numbers == list(range(len(numbers)))
        assert seen == list(range(1, len(seen) + 1))
        assert abs(len(numbers) - len(seen)) <= 1
        assert defects == 2 * written
        if whole and whole[-1]:
            assert len(numbers) + len(seen) >= whole[-1]
            said += whole[-1]
    assert said > 0


def test_rows_that_are_too_old_are_removed_with_their_defects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIDY_ROWS", 2)
    now = time.time_ns()
    sink = log(tmp_path / "log.db")
    feed(sink, *(inspected(number, one(), captured=now - (10 - number) * DAY) for number in range(10)))
    sink.close()

    sink = log(tmp_path / "log.db", keep_days=4.5)
    database = opened_to_read(tmp_path / "log.db")
    until(lambda: [row.number for row in frames(database, Question())] == [6, 7, 8, 9])
    until(lambda: [row.board for row in boards(database, Question())] == [7, 8, 9, 10])
    assert database.execute("SELECT count(*) FROM defects").fetchone() == (4,)
    database.close()
    sink.close()


def test_rows_wait_while_the_disk_is_full_and_are_written_when_it_has_room(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = log(disk / "log.db")
    feed(sink, inspected(0, one()))
    until(lambda: sink.written == 2)
    with (disk / "others").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while file.write(bytes(4096)):
            pass
    feed(sink, *(inspected(number, one()) for number in range(1, 400)))
    until(lambda: "trouble" in sink.status())
    assert "full; 50000 rows wait for it" in caplog.text

    (disk / "others").unlink()
    until(lambda: sink.written == 800)
    sink.close()

    assert "is written again; 0 rows were lost" in caplog.text
    database = opened_to_read(disk / "log.db")
    assert [row.number for row in frames(database, Question())] == list(range(400))
    database.close()


def test_a_log_on_a_disk_that_nobody_may_write_to_can_be_read(disk: Path) -> None:
    sink = log(disk / "log.db")
    feed(sink, inspected(0))
    sink.close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    database = opened_to_read(disk / "log.db")
    assert len(list(boards(database, Question()))) == 1
    database.close()
    with pytest.raises(LineError, match=r"log\.db: unable to open"):
        log(disk / "log.db")


def test_rows_that_find_no_room_are_lost_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROOM", 10)
    monkeypatch.setattr("triton_yolo.clients.stream.sinks.log.schema.BUSY_SECONDS", 0.05)
    sink = log(tmp_path / "log.db")
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    feed(sink, *(inspected(number) for number in range(30)))
    until(lambda: sink.status()["lost"] == 20)
    other.execute("ROLLBACK")
    other.close()
    until(lambda: sink.written == 10)
    sink.close()

    database = opened_to_read(tmp_path / "log.db")
    assert [row.board for row in boards(database, Question())] == list(range(21, 31))
    database.close()


# What the first version of a log's file has, as far as rows need it.
FIRST_VERSION = f"""
CREATE TABLE runs (id INTEGER PRIMARY KEY, line TEXT NOT NULL, started_ns INTEGER NOT NULL);
CREATE TABLE boards (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (id), camera TEXT NOT NULL, board INTEGER NOT NULL,
    at_ns INTEGER NOT NULL, verdict TEXT NOT NULL, why TEXT NOT NULL, frames INTEGER NOT NULL,
    inspected INTEGER NOT NULL, defects INTEGER NOT NULL, worst TEXT, score REAL, first_number INTEGER,
    last_number INTEGER, first_ns INTEGER
);
CREATE INDEX boards_by_time ON boards (at_ns);
CREATE INDEX boards_by_frame ON boards (run, camera, first_number);
CREATE TABLE frames (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (id), camera TEXT NOT NULL, number INTEGER NOT NULL,
    at_ns INTEGER NOT NULL, verdict TEXT NOT NULL, why TEXT NOT NULL, latency_ms REAL
);
CREATE INDEX frames_by_time ON frames (at_ns);
CREATE TABLE defects (
    frame INTEGER NOT NULL REFERENCES frames (id) ON DELETE CASCADE, class TEXT NOT NULL, score REAL NOT NULL,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL
);
CREATE INDEX defects_by_frame ON defects (frame);
INSERT INTO runs VALUES (1, 'old', 5);
INSERT INTO boards VALUES (1, 1, 'top', 1, 0, 'fail', '1 open', 1, 1, 1, 'open', 0.5, 0, 0, 0);
INSERT INTO frames VALUES (1, 1, 'top', 0, 0, 'fail', '1 open', 12.5);
INSERT INTO defects VALUES (1, 'open', 0.5, 1, 2, 3, 4);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = 1;
"""


def test_a_log_of_the_first_version_is_read_as_it_is_and_goes_on_with_what_it_lacked(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    old = sqlite3.connect(path)
    old.executescript(FIRST_VERSION)
    old.close()
    before = path.read_bytes()

    def read() -> tuple[list[tuple[str, int | None]], list[tuple[str, int | None, int | None]]]:
        database = opened_to_read(path)
        found = [(row.line, row.reused) for row in boards(database, Question())]
        bad = [(row.line, row.board, row.age) for row in frames(database, Question())]
        database.close()
        return found, bad

    assert read() == ([("old", None)], [("old", 1, None)])
    assert path.read_bytes() == before, "to read it changes nothing"
    for number in range(2):  # the second start finds a log of today
        sink = log(path, "new")
        feed(sink, replace(inspected(number, one()), age=3), late(number + 2))
        sink.close()
        assert sink.status() == {"written": 4, "waiting": 0, "lost": 0}
    found, bad = read()
    assert found == [("old", None), *[("new", 1), ("new", 1), ("new", 0), ("new", 0)]]
    assert bad == [("old", 1, None), *[("new", 1, 3), ("new", 1, 3), ("new", 2, None), ("new", 2, None)]]


def test_what_is_no_log_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database " * 100)
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (id INTEGER)")
    other.commit()
    other.close()
    sink = log(tmp_path / "later.db")
    sink.close()
    later = sqlite3.connect(tmp_path / "later.db")
    later.execute("PRAGMA user_version = 99")
    later.close()
    (tmp_path / "folder").mkdir()

    for name, why in (
        ("text", "not a database"),
        ("other.db", "no log of a line"),
        ("later.db", f"a log of version 99; this triton-yolo knows version {VERSION}"),
        ("folder", "unable to open|no file"),
        ("text/log.db", "Not a directory|File exists|there is no such file"),
    ):
        with pytest.raises(LineError, match=f"{name}: .*({why})"):
            log(tmp_path / name)
        with pytest.raises(LineError, match=f"{name}: .*({why})"):
            opened_to_read(tmp_path / name)
    assert (tmp_path / "text").read_text() == "no database " * 100
    again = sqlite3.connect(tmp_path / "other.db")
    assert [row[0] for row in again.execute("SELECT name FROM sqlite_master")] == ["mine"]
    again.close()
