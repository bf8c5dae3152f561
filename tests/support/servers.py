"""Servers whose end no test looks at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from triton_yolo.server.process import TritonServer, free_addresses


@contextmanager
def serving(repository: Path) -> Iterator[TritonServer]:
    """A server that is ready, and is killed at the end: to end in order takes each one three seconds."""
    with TritonServer(repository, free_addresses(), log=lambda line: None) as server:
        server.wait_until_ready()
        try:
            yield server
        finally:
            server.kill()
