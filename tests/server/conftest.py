"""Servers for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.server.cells import copy_with_cells
from tests.server.wire import Client
from tests.support.servers import serving
from triton_yolo.server.process import TritonServer


@pytest.fixture(scope="session")
def cells_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a network whose answers are known; its path has a blank in it."""
    return copy_with_cells(REPOSITORY, tmp_path_factory.mktemp("cells") / "model repository")


@pytest.fixture(scope="session")
def cells_server(cells_repository: Path) -> Iterator[TritonServer]:
    """The network of cells, served by the real tritonserver for the whole run."""
    with serving(cells_repository) as running:
        yield running


@pytest.fixture(scope="session")
def cells(cells_server: TritonServer) -> Client:
    """A client of the network of cells."""
    return Client(cells_server.addresses)


@pytest.fixture(scope="session")
def default(server: TritonServer) -> Client:
    """A client of the default repository."""
    return Client(server.addresses)


@pytest.fixture
def fresh(cells_repository: Path) -> Iterator[TritonServer]:
    """A server of its own, so that the memory of other tests is not counted."""
    with serving(cells_repository) as running:
        yield running
