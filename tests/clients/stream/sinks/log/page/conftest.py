"""A real browser, and a page of a log that a line has written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.log_feed import write
from tests.clients.stream.sinks.page.conftest import chromium, tab
from tests.clients.stream.sinks.page.plant import boards
from triton_yolo.clients.stream.addresses import listen, url_of
from triton_yolo.clients.stream.sinks.log.page.app import LogApp
from triton_yolo.clients.stream.sinks.page.server import Server

__all__ = ["chromium", "tab"]


@contextlib.contextmanager
def serving(log: Path, records: Path | None = None) -> Iterator[str]:
    """Serve the page of a log; yields its address."""
    listener = listen("127.0.0.1:0")
    url = url_of(listener)
    with contextlib.closing(Server(LogApp(log, records, ()).asgi, listener, 32)):
        yield url


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A log and records: each of two cameras saw six boards; the first and the last failed, one was late."""
    folder = tmp_path_factory.mktemp("plant")
    return write(folder, boards(), ("top", "side"), range(6), missed=2, before_s=1, after_s=1, film_fps=50)


@pytest.fixture
def url(written: tuple[Path, Path]) -> Iterator[str]:
    """The page of that."""
    with serving(*written) as address:
        yield address
