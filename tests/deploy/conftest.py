"""A server with all of the container's metrics, loaded a little and overloaded once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from triton_yolo.server.process import TritonServer, free_addresses


class MeasuredServer(TritonServer):
    """The pip tritonserver with the flag of docker-compose.yml that its metrics depend on."""

    def _flags(self, models: Path, backends: Path) -> list[str]:
        return [*super()._flags(models, backends), "--metrics-config=summary_latencies=true"]


@pytest.fixture(scope="session")
def measured() -> Iterator[MeasuredServer]:
    """The default repository, for this folder's tests alone."""
    with MeasuredServer(REPOSITORY, free_addresses(), log=lambda line: None) as running:
        running.wait_until_ready()
        yield running


def tool(name: str, package: str, folder: Path | None = None) -> str:
    """The path of a program, on PATH or in a folder; skips the test where it is not installed."""
    found = shutil.which(name, path=folder)
    if found is None:
        pytest.skip(f"{name} is not installed: {package}")
    return found
