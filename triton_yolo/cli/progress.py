"""Progress on stderr: a bar where that is a terminal, and now and then a line where it is not."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import typer
from rich.console import Console
from rich.progress import Progress, TextColumn

INTERVAL = 15.0  # seconds between two lines, and before the first one: what is short shows none

Item = TypeVar("Item")

_last: float | None = None  # when the last line was printed, in what shows progress steadily


@contextlib.contextmanager
def steadily() -> Iterator[None]:
    """Print a line every INTERVAL seconds also where each part of what is done inside takes less.

    Where stderr is a terminal it changes nothing.
    """
    global _last
    _last = time.monotonic()
    try:
        yield
    finally:
        _last = None


def tracked(items: Iterable[Item], total: int, description: str, *, hidden: bool = False) -> Iterator[Item]:
    """Pass items on and show how many are done, if there are several.

    Args:
        items: to pass on.
        total: how many there will be.
        description: what is being done.
        hidden: show nothing.
    """
    if hidden or total < 2:
        yield from items
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        done, start = 0, time.monotonic()
        with _lines(lambda: f"{description}: {done} of {total}{_left(done, total, time.monotonic() - start)}"):
            for item in items:
                yield item
                done += 1
        return
    with Progress(console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(description, total=total)
        for item in items:
            yield item
            bar.advance(task)


def _left(done: int, total: int, seconds: float) -> str:
    """Return the share that is done and how long the rest takes, nothing before the first step is done."""
    if not done:
        return ""
    left = seconds / done * (total - done)
    return f", {done / total:.0%}, {f'{left / 60:.0f} min' if left >= 120 else f'{left:.0f} s'} left"


@contextlib.contextmanager
def working(description: str) -> Iterator[None]:
    """Show that something without steps is being done.

    Args:
        description: what is being done.
    """
    console = Console(stderr=True)
    start = time.monotonic()
    with (
        console.status(description)
        if console.is_terminal
        else _lines(lambda: f"{description}: {time.monotonic() - start:.0f} s so far")
    ):
        yield


@contextlib.contextmanager
def counted(description: str, text: Callable[[], str]) -> Iterator[None]:
    """Show how far something is whose end is not known.

    Args:
        description: what is being done.
        text: says how far it is.
    """
    console, start = Console(stderr=True), time.monotonic()

    def line() -> str:
        return f"{description}: {text()}, {time.monotonic() - start:.0f} s so far"

    if not console.is_terminal:
        with _lines(line):
            yield
        return
    with Progress(TextColumn("{task.description}"), console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(line(), total=None)
        end = threading.Event()

        def refresh() -> None:
            while not end.wait(0.5):
                bar.update(task, description=line())

        thread = threading.Thread(target=refresh, daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()


@contextlib.contextmanager
def _lines(text: Callable[[], str]) -> Iterator[None]:
    """Print a line every INTERVAL seconds from a thread.

    Args:
        text: makes the line.
    """
    end = threading.Event()

    def run() -> None:
        global _last
        first = INTERVAL if _last is None else max(0.0, INTERVAL - (time.monotonic() - _last))
        while not end.wait(first):
            typer.echo(text(), err=True)
            first = INTERVAL
            if _last is not None:
                _last = time.monotonic()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
