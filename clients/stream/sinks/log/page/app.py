"""The log's page over HTTP. Everything can be read, and nothing can be changed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.sinks.log.page.kept import KINDS, Kept, small
from triton_yolo.clients.stream.sinks.log.paging import (
    Entry,
    LoggedFrame,
    Place,
    board,
    frame,
    frames_of,
    kinds,
    newest,
)
from triton_yolo.clients.stream.sinks.log.query import Question, defects
from triton_yolo.clients.stream.sinks.log.schema import opened_to_read
from triton_yolo.clients.stream.sinks.log.times import local, span
from triton_yolo.clients.stream.sinks.page.app import STATIC as SHARED
from triton_yolo.clients.stream.sinks.page.guard import STAYS, Guard
from triton_yolo.clients.stream.verdict import Verdict

STATIC = Path(__file__).parent / "static"
PIECE = 40  # boards that are sent at a time
MOST_NAMES = 64  # cameras or classes of a question
LOOKED_FOR = 50  # frames of a board of which a picture is looked for, for the list
SECONDS = 10.0  # for one question
AT_ONCE = 4  # questions; others wait


class LogApp:
    """The addresses of the page.

    Attributes:
        asgi: the application.
    """

    def __init__(self, log: Path, records: Path | None, names: Iterable[str]) -> None:
        """Prepare.

        Args:
            log: the log's file.
            records: folder of the records; None where there is none.
            names: further host names of this machine.
        """
        self._log, self._kept = log, Kept(records)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._page = _with_symbols((STATIC / "index.html").read_text())
        routes = [
            Route("/", self._index),
            Route("/boards", self._boards),
            Route("/boards/{number:int}", self._board),
            Route("/frames/{number:int}/small.jpg", self._small),
            *(Route(f"/frames/{{number:int}}/{kind}", self._picture) for kind in KINDS),
            Route("/frames/{number:int}/film.mp4", self._film),
            Mount("/shared", StaticFiles(directory=SHARED)),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        self.asgi = Guard(Starlette(routes=routes), names, "name it with --page-name")

    async def _index(self, request: Request) -> Response:
        return HTMLResponse(self._page)

    async def _boards(self, request: Request) -> Response:
        try:
            question = _question(request.query_params)
            below = Place.read(text) if (text := request.query_params.get("below")) else None
        except ValueError as error:
            return PlainTextResponse(f"{error}\n", 400)
        return await self._asked(lambda database: JSONResponse(self._piece(database, question, below)))

    async def _board(self, request: Request) -> Response:
        number = request.path_params["number"]

        def answer(database: sqlite3.Connection) -> Response:
            entry = board(database, number)
            if entry is None:
                return PlainTextResponse("this board is not in the log any more\n", 404)
            found = frames_of(database, entry)
            failed = [one for one in found if one.verdict == Verdict.FAIL.value]
            first = min(failed, key=lambda one: one.number, default=None)
            content = {
                "frames": [self._frame(one, defects(database, one.id)) for one in found],
                "film": first.id if first and self._kept.film(first) else None,
            }
            return JSONResponse(content)

        return await self._asked(answer)

    async def _small(self, request: Request) -> Response:
        def answer(database: sqlite3.Connection) -> Response:
            paths = self._pictures(database, request)
            path = paths.get("plain.jpg") or paths.get("boxes.jpg")
            content = small(path) if path else None
            if content is None:
                return PlainTextResponse("there is no picture any more\n", 404)
            return Response(content, media_type="image/jpeg", headers={"Cache-Control": STAYS})

        return await self._asked(answer)

    async def _picture(self, request: Request) -> Response:
        kind = request.url.path.rpartition("/")[2]
        return await self._asked(
            lambda database: _file(self._pictures(database, request).get(kind), "image/jpeg"),
        )

    async def _film(self, request: Request) -> Response:
        def answer(database: sqlite3.Connection) -> Response:
            found = frame(database, request.path_params["number"])
            return _file(self._kept.film(found) if found else None, "video/mp4")

        return await self._asked(answer)

    def _pictures(self, database: sqlite3.Connection, request: Request) -> dict[str, Path]:
        found = frame(database, request.path_params["number"])
        return self._kept.pictures(found) if found else {}

    async def _asked(self, answer: Callable[[sqlite3.Connection], Response]) -> Response:
        """Answer with what the log says, or with why it says nothing."""

        def work() -> Response:
            try:
                with _reading(self._log) as database:
                    return answer(database)
            except LineError as error:
                return PlainTextResponse(f"{error}\n", 503)
            except OverflowError:  # a number that SQLite has no room for
                return PlainTextResponse("there is no such number\n", 404)
            except sqlite3.Error as error:
                late = "interrupted" in str(error)
                words = f"this takes longer than {SECONDS:g} s: ask for a shorter time" if late else str(error)
                return PlainTextResponse(f"{words}\n", 503)

        async with self._turns:
            return await run_in_threadpool(work)

    def _piece(self, database: sqlite3.Connection, question: Question, below: Place | None) -> dict[str, Any]:
        entries = newest(database, question, below, PIECE)
        content: dict[str, Any] = {
            "boards": [self._entry(database, entry) for entry in entries],
            "below": str(entries[-1].place) if len(entries) == PIECE else None,
        }
        if below is None:
            time_alone = Question(question.since_ns, question.until_ns)
            content["kinds"] = kinds(database, time_alone)
            content["log"] = self._log.name
        return content

    def _entry(self, database: sqlite3.Connection, entry: Entry) -> dict[str, Any]:
        row, shown = entry.row, None
        if row.verdict != Verdict.PASS.value and entry.first is not None:
            frames = frames_of(database, entry)[:LOOKED_FOR]
            shown = next((one.id for one in frames if self._kept.pictures(one)), None)
        content = {**row._asdict(), "id": entry.id, "picture": shown, "time": local(row.at_ns)}
        content["since"] = local(content.pop("first_ns"))
        del content["at_ns"]
        return content

    def _frame(self, found: LoggedFrame, defects: list[tuple[str, float]]) -> dict[str, Any]:
        content = {**found._asdict(), "time": local(found.at_ns), "defects": defects}
        del content["at_ns"]
        return {**content, "pictures": list(self._kept.pictures(found))}


def _file(path: Path | None, kind: str) -> Response:
    if path is None:
        return PlainTextResponse("this is not kept any more\n", 404)
    return FileResponse(path, media_type=kind, headers={"Cache-Control": STAYS})


def _question(asked: QueryParams) -> Question:
    """Return what an address asks.

    Raises:
        ValueError: it is no question.
    """
    now = datetime.now().astimezone()
    since, until = (asked.get(name) or None for name in ("since", "until"))
    cameras, verdicts, classes = (asked.getlist(name) for name in ("camera", "verdict", "class"))
    if max(map(len, (cameras, verdicts, classes))) > MOST_NAMES:
        raise ValueError(f"more than {MOST_NAMES} names")
    return Question(*span(since, until, now), cameras, [Verdict(word).value for word in verdicts], classes)


@contextlib.contextmanager
def _reading(log: Path) -> Iterator[sqlite3.Connection]:
    """Open a log for one question, which is interrupted where it takes too long.

    Raises:
        LineError: there is no log.
    """
    end = time.monotonic() + SECONDS
    database = opened_to_read(log)
    try:
        database.set_progress_handler(lambda: time.monotonic() > end, 10_000)
        yield database
    finally:
        database.close()


def _with_symbols(page: str) -> str:
    """Return a page with the symbols of the line's page in it."""
    found = re.search(r'<svg class="symbols".*?</svg>\n', (SHARED / "index.html").read_text(), re.DOTALL)
    assert found
    return page.replace("<!-- symbols -->\n", found[0])
