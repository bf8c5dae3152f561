"""triton-yolo log: which boards failed on Tuesday, and why."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.clients.commands import run
from tests.clients.stream.results import inspected, late, one
from tests.clients.stream.sinks.log.test_log import feed, log
from triton_yolo.clients.commands.log import main

TUESDAY = datetime(2026, 11, 24, 10, 30, tzinfo=timezone(timedelta(hours=1)))


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of three days: two boards on each, of which one fails on Monday and Tuesday."""
    path = tmp_path_factory.mktemp("log") / "line 3?.db"
    sink = log(path)
    for day in (-1, 0, 1):
        at = ns(TUESDAY) + day * 86_400 * 10**9
        found = [one("short", 0.8), one("open", 0.6)] if day < 1 else []
        feed(sink, inspected(10 + 2 * day, *found, captured=at), inspected(11 + 2 * day, captured=at, camera="side"))
    feed(sink, late(14))
    sink.close()
    return path


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_which_boards_failed_on_tuesday_and_why(file: Path) -> None:
    result = run(main, file, "--on", "2026-11-24", "--verdict", "fail", "--csv")

    [row] = rows(result.stdout)
    assert row["time"] == "2026-11-24 10:30:00.000+01:00"
    assert (row["camera"], row["verdict"], row["why"]) == ("top", "fail", "2 defects")
    assert (row["worst"], row["score"]) == ("short", "0.8")


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ([], 7),
        (["--since", "2026-11-24"], 4),
        (["--since", "2026-11-24", "--until", "2026-11-24"], 2),
        (["--since", "2026-11-24T10:30", "--until", "2026-11-24T10:30:01"], 2),
        (["--until", "2026-11-24T10:30", "--since", "2020-01-01"], 2),
        (["--since", "2h"], 0),
        (["--camera", "side"], 3),
        (["--camera", "side", "--camera", "top"], 7),
        (["--camera", "'; DROP TABLE boards; --"], 0),
        (["--verdict", "pass", "--verdict", "not inspected"], 5),
        (["--class", "short"], 2),
        (["--class", "open"], 0),  # is not the worst
        (["--class", "open", "--frames"], 2),
        (["--frames"], 3),
        (["--frames", "--verdict", "not inspected"], 1),
    ],
)
def test_what_is_asked_for_is_what_is_printed(file: Path, options: list[str], count: int) -> None:
    assert len(rows(run(main, file, "--csv", *options).stdout)) == count
    assert len(run(main, file, "--json", *options).stdout.splitlines()) == count


def test_names_of_columns_are_there_without_a_row(file: Path) -> None:
    assert run(main, file, "--csv", "--since", "2h").stdout.startswith("time,line,camera,board,verdict,why,frames,")


def test_frames_name_their_defects(file: Path) -> None:
    [row] = [
        json.loads(line) for line in run(main, file, "--on", "2026-11-24", "--frames", "--json").stdout.splitlines()
    ]
    assert (row["number"], row["defects"]) == (10, "short 0.800; open 0.600")


def test_what_stands_on_an_earlier_frame_says_so_and_is_no_column_of_people_s_table_without_need(
    file: Path, tmp_path: Path
) -> None:
    sink, path = log(tmp_path / "log.db"), tmp_path / "log.db"
    feed(sink, inspected(0, one()), replace(inspected(1, one()), age=1), late(2))
    sink.close()

    found = rows(run(main, path, "--frames", "--csv").stdout)
    assert [(row["number"], row["reused"], row["age"]) for row in found] == [
        ("0", "False", "0"),
        ("1", "True", "1"),
        ("2", "", ""),
    ]
    assert sorted(row["reused"] for row in rows(run(main, path, "--csv").stdout)) == ["0", "0", "1"]
    assert "reused" in run(main, path).stdout
    assert "reused" not in run(main, file).stdout


def test_people_get_a_table_and_what_it_adds_up_to(file: Path) -> None:
    result = run(main, file, "--since", "2026-11-20")

    *_, last = result.stdout.splitlines()
    assert last == "6 boards: 4 pass, 2 fail, 0 not inspected"
    assert "2 defects" in result.stdout
    assert "line-3" not in result.stdout  # there is one line only


def test_days_of_the_week_are_the_last_ones(tmp_path: Path) -> None:
    sink, now = log(tmp_path / "log.db"), datetime.now()
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
    days = [noon - timedelta(days=ago) for ago in range(14)]
    feed(sink, *(inspected(number, captured=ns(day)) for number, day in enumerate(days)))
    sink.close()

    for number, day in enumerate(days[:7]):
        [row] = rows(run(main, tmp_path / "log.db", "--csv", "--on", day.strftime("%A")).stdout)
        assert row["board"] == str(number + 1)


def test_names_give_a_terminal_no_orders(tmp_path: Path) -> None:
    sink, evil = log(tmp_path / "log.db"), inspected(0, one())
    assert evil.detections is not None
    object.__setattr__(evil.detections, "names", ("\x1b[2J<b>[red]x[/red]",))
    feed(sink, evil)
    sink.close()

    text = run(main, tmp_path / "log.db").stdout
    assert "\x1b[2J" not in text
    assert "[2J<b>[red]x[/red]" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--since", "tomorrow"], "'tomorrow' is no time: give one such as 2026-11-24"),
        (["--since", "2026-11-24", "--until", "2026-11-23"], "until 2026-11-23 is not later than since 2026-11-24"),
        (["--on", "2h"], "--on 2h: no day"),
        (["--on", "today", "--since", "2h"], "--on is both"),
        (["--csv", "--json"], "exclude each other"),
    ],
)
def test_what_cannot_be_meant_is_refused(file: Path, options: list[str], words: str) -> None:
    result = run(main, file, *options)

    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_text("no database " * 100)

    assert "there is no such file" in run(main, tmp_path / "none.db").stderr
    result = run(main, tmp_path / "log.db")
    assert result.exit_code == 2
    assert "not a database" in result.stderr


def test_the_verb_is_there_and_a_reader_that_goes_is_no_error(file: Path) -> None:
    command = f"'{sys.executable}' -m triton_yolo log '{file}' --csv | head -1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60)
    assert result.stdout.startswith("time,")
    assert result.stderr == ""
