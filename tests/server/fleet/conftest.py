"""Three servers with a light network behind Envoy, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.server.fleet.load import Load
from tests.server.fleet.papers import Papers
from tests.support.certificates import Authority
from triton_yolo.clients import Detector
from triton_yolo.server.fleet.access import AccessFiles
from triton_yolo.server.fleet.fleet import OPEN, Fleet
from triton_yolo.server.fleet.parts import shares
from triton_yolo.server.process import TritonServer, free_addresses

SERVERS = 3


@contextmanager
def fleet_of(repository: Path, servers: int = SERVERS, access: AccessFiles = OPEN) -> Iterator[Fleet]:
    """Servers of a repository behind Envoy, ready."""
    with Fleet(
        shares(servers),
        free_addresses(),
        lambda part, at, arithmetic: TritonServer(
            repository, at, lambda line: None, arithmetic=arithmetic, cores=part.cores
        ),
        access=access,
    ) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture(scope="module")
def fleet(cells_repository: Path) -> Iterator[Fleet]:
    """One for each file of tests."""
    with fleet_of(cells_repository) as running:
        yield running


@pytest.fixture(scope="module")
def detector(fleet: Fleet) -> Iterator[Detector]:
    """A client of the fleet."""
    with Detector(f"127.0.0.1:{fleet.addresses.grpc}") as one:
        yield one


@pytest.fixture(scope="module")
def load(fleet: Fleet) -> Callable[[], Load]:
    """Makes load on the fleet, whose answers are held against those of one server alone."""
    url = fleet.members[0].grpc
    with Detector(url) as alone:
        expected = Load.expected(alone)
    return lambda: Load(f"127.0.0.1:{fleet.addresses.grpc}", expected)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    plant, other = Authority(folder / "plant", "plant"), Authority(folder / "other", "other")
    return Papers(folder, plant, other, plant.vouch("localhost"))
