"""Times as people say and read them: dates, days of the week, and how long ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
FORMS = "2026-11-24, 2026-11-24T10:30, 10:30, today, yesterday, tuesday, 30m, 2h, 3d or 1w"


def period(words: str, now: datetime) -> tuple[datetime, datetime]:
    """Return the time that somebody names: its begin and its end.

    Args:
        words: an ISO date or time, "10:30" of today, "today", "yesterday", a day of the week, which is the last one
            that has begun, or how long ago, such as "2h". Where they name no time zone, this machine's is meant.
        now: this moment, with a time zone.

    Returns:
        Of a day, its midnight and the next one; of everything else the moment, twice. Both have time zones.

    Raises:
        ValueError: nobody knows what is meant.
    """
    said, today = words.strip().lower(), now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    midnight = today.replace(tzinfo=None)
    weekdays = [place for place, name in enumerate(DAYS) if said in (name, name[:3])]
    try:
        if said in ("today", "yesterday"):
            return _day(midnight - timedelta(days=("today", "yesterday").index(said)))
        if weekdays:
            return _day(midnight - timedelta(days=(midnight.weekday() - weekdays[0]) % 7))
        if re.fullmatch(r"\d{4}-\d\d-\d\d", said):
            return _day(datetime.fromisoformat(said))
        if ago := re.fullmatch(r"(\d{1,9})([smhdw])", said):
            moment = now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        elif clock := re.fullmatch(r"(\d{1,2}):(\d\d)(?::(\d\d))?", said):
            hour, minute, second = (int(part or 0) for part in clock.groups())
            moment = midnight.replace(hour=hour, minute=minute, second=second).astimezone()
        else:
            moment = datetime.fromisoformat(said.upper().replace("Z", "+00:00")).astimezone()
    except (ValueError, OverflowError):
        raise ValueError(f"{words!r} is no time: give one such as {FORMS}") from None
    return moment, moment


def _day(midnight: datetime) -> tuple[datetime, datetime]:
    """Return a day of this machine's time zone, which has 23 or 25 hours where the clocks are changed."""
    return midnight.astimezone(), (midnight + timedelta(days=1)).astimezone()


def span(since: str | None, until: str | None, now: datetime) -> tuple[int | None, int | None]:
    """Return begin and end in nanoseconds since 1970; None where nothing is said.

    Args:
        since: the begin, as ``period`` takes it.
        until: the end; of a day its end.
        now: this moment, with a time zone.

    Raises:
        ValueError: one of them is no time, or the end is not behind the begin.
    """
    first = None if since is None else ns(period(since, now)[0])
    last = None if until is None else ns(period(until, now)[1])
    if first is not None and last is not None and last <= first:
        raise ValueError(f"until {until} is not later than since {since}")
    return first, last


def ns(moment: datetime) -> int:
    """Return a time in nanoseconds since 1970, to the microsecond."""
    return round(moment.timestamp() * 1e6) * 1000


def local(at_ns: int | None) -> str | None:
    """Return a time as ISO 8601 in this machine's time zone, to the millisecond."""
    return None if at_ns is None else datetime.fromtimestamp(at_ns / 1e9).astimezone().isoformat(" ", "milliseconds")
