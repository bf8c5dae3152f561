"""A progress bar that stays out of the way of results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

Item = TypeVar("Item")


def tracked(items: Iterable[Item], total: int, description: str, *, hidden: bool = False) -> Iterator[Item]:
    """Pass items on and show how far they are, on stderr, if that is a terminal and there are several.

    Args:
        items: to pass on.
        total: how many there will be.
        description: what is being done.
        hidden: show nothing.
    """
    console = Console(stderr=True)
    off = hidden or total < 2 or not console.is_terminal
    with Progress(console=console, disable=off, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(description, total=total)
        for item in items:
            yield item
            bar.advance(task)


@contextlib.contextmanager
def working(description: str) -> Iterator[None]:
    """Show on stderr, if that is a terminal, that something without steps is being done.

    Args:
        description: what is being done.
    """
    console = Console(stderr=True)
    with console.status(description) if console.is_terminal else contextlib.nullcontext():
        yield
