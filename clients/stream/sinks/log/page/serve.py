"""Serves the log's page until somebody presses Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from types import FrameType
from urllib.parse import urlencode

from triton_yolo.clients.stream.addresses import listen, url_of
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.sinks.log.page.app import LogApp
from triton_yolo.clients.stream.sinks.log.query import Question
from triton_yolo.clients.stream.sinks.page.server import Server

CONNECTIONS = 64


def serve(
    log: Path,
    records: Path | None,
    address: str,
    names: Iterable[str],
    question: Question,
    say: Callable[[str], None],
) -> None:
    """Show a log in a browser until SIGINT or SIGTERM.

    Args:
        log: the log's file.
        records: folder of the records, for pictures; None where there are none.
        address: HOST:PORT.
        names: further host names under which browsers know this machine.
        question: what the page asks first.
        say: is called with the page's address.

    Raises:
        LineError: the address or the folder cannot be used.
    """
    if records and not records.is_dir():
        raise LineError(f"--records {records}: there is no such folder")
    try:
        listener = listen(address)
    except LineError as error:
        raise LineError(f"--page {error}") from None
    over = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        over.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server = Server(LogApp(log, records, names).asgi, listener, CONNECTIONS)
        with contextlib.closing(server):
            say(f"{url_of(listener)}{_asked(question)}")
            over.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _asked(question: Question) -> str:
    """Return a question as the page's address has it."""
    times = (("since", question.since_ns), ("until", question.until_ns))
    parts = [(name, _minute(at_ns)) for name, at_ns in times if at_ns is not None]
    for name, values in (("camera", question.cameras), ("verdict", question.verdicts), ("class", question.classes)):
        parts += [(name, value) for value in values]
    return f"?{urlencode(parts)}" if parts else ""


def _minute(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9).isoformat(timespec="seconds")
