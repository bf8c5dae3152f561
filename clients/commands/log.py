"""Command line: triton-yolo log."""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from triton_yolo.cli.exits import leave
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.sinks.log.query import BoardRow, FrameRow, Question, boards, counts, frames
from triton_yolo.clients.stream.sinks.log.schema import opened_to_read
from triton_yolo.clients.stream.sinks.log.times import FORMS, local, ns, period, span
from triton_yolo.clients.stream.verdict import Verdict

COMMAND = "triton-yolo log"
SHOWN = 1000  # rows of a table
WIDE = 200  # columns of a table that goes into a file or a pipe
COLORS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.NOT_INSPECTED: "yellow"}

COUNTS = ("frames", "inspected", "reused", "defects")
BOARD = ("time", "line", "camera", "board", "verdict", "why", *COUNTS, "worst", "score", "since")
FRAME = ("time", "line", "camera", "number", "board", "verdict", "why", "defects", "latency_ms", "reused", "age")

Record = dict[str, Any]


def main(
    log: Annotated[Path, typer.Argument(metavar="FILE", help="The log: what path says of the sink log in LINE.yaml.")],
    since: Annotated[str | None, typer.Option(metavar="TIME", help=f"From then on: {FORMS}.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Until then; until its end if it is a day. As --since.")
    ] = None,
    on: Annotated[str | None, typer.Option(metavar="DAY", help="That day: both of --since and --until.")] = None,
    camera: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Of this camera. Any number.")] = None,
    verdict: Annotated[
        list[Verdict] | None, typer.Option(metavar="pass|fail|'not inspected'", help="With this verdict. Any number.")
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="CLASS", help="Whose worst defect is of this class. Any number."),
    ] = None,
    of_frames: Annotated[
        bool, typer.Option("--frames", help="Frames that failed or were not inspected, in place of boards.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values, with a line of names.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each row.")] = False,
    page: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Show the log in a browser, such as at 127.0.0.1:8081, until Ctrl-C."),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="With --page: what folder says of the sink records, for the pictures."),
    ] = None,
    page_name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="With --page: a host name under which browsers know this machine."),
    ] = None,
) -> None:
    """Say which boards passed, failed or were not inspected, when and why, out of a line's log.

    The log may be written at the same time. Times are those of this machine's time zone.
    """
    if as_csv + as_json + (page is not None) > 1:
        leave(COMMAND, "--csv, --json and --page exclude each other")
    if page is not None and of_frames:
        leave(COMMAND, "--page shows boards, and the frames of each: leave --frames out")
    if page is None and (records or page_name):
        leave(COMMAND, "--records and --page-name are of --page")
    if on is not None and (since is not None or until is not None):
        leave(COMMAND, "--on is both --since and --until: give it alone")
    try:
        now = datetime.now().astimezone()
        times = span(since, until, now) if on is None else _on(on, now)
        question = Question(*times, camera or (), [one.value for one in verdict or ()], name or ())
        database = opened_to_read(log)
        if page is not None:
            database.close()
            _show(log, question, page, records, page_name or ())
            return
    except (LineError, ValueError) as error:
        leave(COMMAND, str(error))
    try:
        rows = map(_frame, frames(database, question)) if of_frames else map(_board, boards(database, question))
        if as_csv:
            _print_csv(rows, FRAME if of_frames else BOARD)
        elif as_json:
            for row in rows:
                typer.echo(json.dumps(row))
        else:
            _print_table(rows, FRAME if of_frames else BOARD[:-1])
            if not of_frames:
                found = counts(database, question)
                each = ", ".join(f"{found[one.value]} {one.value}" for one in Verdict)
                typer.echo(f"{found.total()} boards: {each}")
    except sqlite3.Error as error:
        leave(COMMAND, f"{log}: {error}")
    finally:
        database.close()


def _show(log: Path, question: Question, address: str, records: Path | None, names: Sequence[str]) -> None:
    """Show the log in a browser until Ctrl-C.

    Raises:
        LineError: the address or the folder cannot be used.
    """
    try:
        from triton_yolo.clients.stream.sinks.log.page.serve import serve
    except ModuleNotFoundError as error:
        raise LineError(f"--page needs the package {error.name}: pip install 'triton-yolo[stream]'") from None
    serve(log, records, address, names, question, lambda url: typer.echo(f"{COMMAND}: the page is at {url}", err=True))


def _on(day: str, now: datetime) -> tuple[int, int]:
    """Return begin and end of a day in nanoseconds since 1970.

    Raises:
        ValueError: it is none.
    """
    begin, end = (ns(moment) for moment in period(day, now))
    if begin == end:
        raise ValueError(f"--on {day}: no day; give one such as 2026-11-24, yesterday or tuesday")
    return begin, end


def _board(row: BoardRow) -> Record:
    return {
        "time": local(row.at_ns),
        **{key: getattr(row, key) for key in ("line", "camera", "board", "verdict", "why", *COUNTS, "worst")},
        "score": None if row.score is None else round(row.score, 4),
        "since": local(row.first_ns),
    }


def _frame(row: FrameRow) -> Record:
    return {
        "time": local(row.at_ns),
        **{key: getattr(row, key) for key in ("line", "camera", "number", "board", "verdict", "why")},
        "defects": "; ".join(f"{name} {score:.3f}" for name, score in row.found),
        "latency_ms": None if row.latency_ms is None else round(row.latency_ms, 1),
        "reused": None if row.age is None else row.age > 0,
        "age": row.age,
    }


def _print_csv(rows: Iterable[Record], columns: Sequence[str]) -> None:
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    sys.stdout.flush()


def _print_table(rows: Iterator[Record], columns: Sequence[str]) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    shown = list(islice(rows, SHOWN))
    if not shown:
        return
    table = Table(box=None, pad_edge=False)
    if len({row["line"] for row in shown}) == 1:
        columns = [key for key in columns if key != "line"]
    columns = [key for key in columns if key not in ("reused", "age") or any(row[key] for row in shown)]
    for key in columns:
        right = all(isinstance(row[key], int | float | None) for row in shown)
        table.add_column(key, justify="right" if right else "left", overflow="fold")
    for row in shown:
        table.add_row(*(_cell(key, row[key]) for key in columns))
    console.print(table)
    if next(rows, None):
        typer.echo(f"{COMMAND}: the first {SHOWN} rows; --csv prints all of them", err=True)


def _cell(key: str, value: Any) -> Text:
    """Return a value for a terminal, which takes no orders from a class's name."""
    words = (
        ""
        if value is None
        else f"{value:.1f}"
        if key == "latency_ms"
        else f"{value:.3f}"
        if isinstance(value, float)
        else str(value)
    )
    words = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in words)
    return Text(words, COLORS.get(Verdict(value), "") if key == "verdict" else "")
