"""Times as people say them, in a time zone that changes its clocks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from triton_yolo.clients.stream.sinks.log.times import DAYS, period

NOW = datetime(2026, 11, 27, 15, 30, tzinfo=timezone(timedelta(hours=1)))  # a Friday


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("words", "begin", "end"),
    [
        # Days.
        ("today", "2026-11-27T00:00+01:00", "2026-11-28T00:00+01:00"),
        ("yesterday", "2026-11-26T00:00+01:00", "2026-11-27T00:00+01:00"),
        ("tuesday", "2026-11-24T00:00+01:00", "2026-11-25T00:00+01:00"),
        ("Tue", "2026-11-24T00:00+01:00", "2026-11-25T00:00+01:00"),
        ("friday", "2026-11-27T00:00+01:00", "2026-11-28T00:00+01:00"),  # has begun
        ("saturday", "2026-11-21T00:00+01:00", "2026-11-22T00:00+01:00"),
        ("2026-11-24", "2026-11-24T00:00+01:00", "2026-11-25T00:00+01:00"),
        ("2024-02-29", "2024-02-29T00:00+01:00", "2024-03-01T00:00+01:00"),
        # Days on which the clocks are changed have 23 and 25 hours.
        ("2026-03-29", "2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00"),
        ("2026-10-25", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"),
        # Moments.
        ("10:30", "2026-11-27T10:30+01:00", None),
        ("9:05:07", "2026-11-27T09:05:07+01:00", None),
        ("2026-11-24T10:30", "2026-11-24T10:30+01:00", None),
        ("2026-11-24 10:30:15", "2026-11-24T10:30:15+01:00", None),
        ("2026-07-01T10:30", "2026-07-01T10:30+02:00", None),
        ("2026-11-24T10:30Z", "2026-11-24T10:30+00:00", None),
        ("2026-11-24T10:30-05:00", "2026-11-24T10:30-05:00", None),
        ("90s", "2026-11-27T15:28:30+01:00", None),
        ("30m", "2026-11-27T15:00+01:00", None),
        (" 2H ", "2026-11-27T13:30+01:00", None),
        ("1d", "2026-11-26T15:30+01:00", None),
        ("1w", "2026-11-20T15:30+01:00", None),
    ],
)
def test_what_is_meant(words: str, begin: str, end: str | None) -> None:
    assert period(words, NOW) == (datetime.fromisoformat(begin), datetime.fromisoformat(end or begin))


@pytest.mark.parametrize(
    "words", ["", " ", "tomorrow", "t", "25:00", "2026-13-01", "2026-02-29", "2h30m", "-2h", "999999999w", "h", "24"]
)
def test_what_nobody_understands_is_refused_with_what_would_be(words: str) -> None:
    with pytest.raises(ValueError, match=r"is no time: give one such as 2026-11-24, .* 2h, 3d or 1w$"):
        period(words, NOW)


def test_each_day_of_the_week_is_one_of_the_last_seven() -> None:
    begins = [period(name, NOW)[0] for name in DAYS]
    assert sorted(begins) == [datetime(2026, 11, day, tzinfo=NOW.tzinfo) for day in range(21, 28)]
    assert [DAYS[begin.weekday()] for begin in begins] == list(DAYS)
