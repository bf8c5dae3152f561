"""Progress where stderr is no terminal."""

from __future__ import annotations

import re
import time

import pytest

from triton_yolo.cli import progress
from triton_yolo.cli.progress import steadily, tracked, working


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.05)


@pytest.mark.usefixtures("often")
def test_a_line_says_now_and_then_how_many_are_done(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in tracked(range(4), 4, "Counting"):
        time.sleep(0.1)
    output = capsys.readouterr()
    lines = output.err.splitlines()
    assert output.out == ""
    assert 2 <= len(lines) <= 8
    assert lines[0] == "Counting: 0 of 4"
    assert any(re.fullmatch(r"Counting: 3 of 4, 75%, \d s left", line) for line in lines)


@pytest.mark.usefixtures("often")
def test_what_has_no_steps_says_how_long_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with working("Waiting"):
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Waiting: 0 s so far"
    time.sleep(0.1)
    assert capsys.readouterr().err == "", "it has ended"


@pytest.mark.usefixtures("often")
def test_items_that_are_not_all_taken_leave_no_thread(capsys: pytest.CaptureFixture[str]) -> None:
    items = tracked(range(4), 4, "Counting")
    next(items)
    items.close()  # type: ignore[attr-defined]  # it is a generator
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_what_is_short_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(tracked(range(100), 100, "Counting")) == list(range(100))
    with working("Waiting"):
        pass
    assert capsys.readouterr().err == ""


def test_many_short_parts_say_something_steadily(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.3)
    with steadily():
        for part in range(10):
            for _ in tracked(range(2), 2, f"Part {part}"):
                time.sleep(0.05)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 6
    assert all(line.startswith("Part ") for line in lines)
