"""Clients that are slow, silent or gone, and clients that ask for ever new names: others do not notice."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from bench.slow_clients import SlowClients
from tests.faults.mutated_requests import Mutations, message_of
from tests.faults.neighbours import Neighbours
from tests.server.fleet.conftest import fleet_of
from tests.server.fleet.test_faults import wait_until
from tests.server.processes import descriptors, resident, whole
from tests.server.wire import Client, concurrently
from triton_yolo.clients import Detector
from triton_yolo.clients.request import Request
from triton_yolo.clients.stream.encoder import Place
from triton_yolo.clients.stream.tile_request import KEY_POSITION, Content, tile_request
from triton_yolo.server.fleet import envoy_config
from triton_yolo.server.limits import FILES
from triton_yolo.server.process import TritonServer, free_addresses

CLIENTS = 1000
USUAL_FILES = 1024  # soft limit of a login
WAVE = 2 * CLIENTS  # more than that
SECONDS = 60  # for what must happen, on a busy machine
CONNECTION = 10_000  # bytes: less than what is kept for one while it is there
NAMES = 100_000
NO_ROOM = "no room for another stream"
GROWTH = 20e6  # bytes: a hundred thousand names of 256 bytes with what a map adds to each would be 40 MB


@contextmanager
def open_files(soft: int) -> Iterator[None]:
    """Another limit of open files for this process, and what it starts."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.slow
def test_a_thousand_slow_uploads_and_silent_connections_harm_nobody_and_leave_nothing(cells_repository: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 4 * CLIENTS:
        pytest.skip(f"the hard limit of open files is {hard}")
    with open_files(USUAL_FILES), TritonServer(cells_repository, free_addresses(), lambda line: None) as server:
        server.wait_until_ready()
        with open_files(4 * CLIENTS), Neighbours(server.addresses) as neighbours:
            at, opened, memory = server.addresses, descriptors(server), []
            for _ in range(2):
                with SlowClients(at.host, at.http, at.grpc, WAVE) as slow:
                    wait_until(lambda: descriptors(server) >= opened + WAVE, "not all of them were accepted", SECONDS)
                    assert set(concurrently(neighbours.ask, range(300), 8)) == {"right"}
                    with Neighbours(at) as latecomers:
                        assert set(map(latecomers.ask, range(30))) == {"right"}
                    assert slow.cut() == 0, "what broke was not there to be borne"
                wait_until(lambda: descriptors(server) <= opened + 16, "their connections stay", SECONDS)
                memory.append(resident(server))
            assert set(map(neighbours.ask, range(30))) == {"right"}
        assert memory[1] - memory[0] < WAVE * CONNECTION
        assert server.broken() is None


@pytest.mark.slow
def test_the_server_may_have_as_many_connections_as_the_system_allows(cells_repository: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    with open_files(USUAL_FILES), TritonServer(cells_repository, free_addresses(), lambda line: None) as server:
        server.wait_until_ready()
        for process in whole(server):
            assert process.rlimit(resource.RLIMIT_NOFILE) == (wanted, hard)
    assert wanted > USUAL_FILES, "the hard limit here is no more than the soft one, so this shows nothing"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["upload over HTTP", "half a header"])
def test_envoy_cuts_uploads_that_do_not_come_to_an_end(
    cells_repository: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(envoy_config, "LONGEST_UPLOAD", "2s")
    with fleet_of(cells_repository, 1) as fleet, Neighbours(fleet.addresses) as neighbours:
        at = fleet.addresses
        with SlowClients(at.host, at.http, at.grpc, 50, (kind,)) as slow:
            assert set(concurrently(neighbours.ask, range(60), 8)) == {"right"}
            wait_until(lambda: slow.cut() == len(slow.open), "they are still waited for", SECONDS)
        assert set(map(neighbours.ask, range(12))) == {"right"}


@pytest.mark.long
@pytest.mark.slow
def test_a_request_for_each_of_a_hundred_thousand_names_leaves_no_memory_behind(fresh: TritonServer) -> None:
    """Names of models, and of streams, of which a server keeps a few."""
    tile = Content(KEY_POSITION, np.zeros((1, 8, 8, 3), np.uint8))
    image = np.zeros((1, 3), np.uint8)
    with Detector(f"{fresh.addresses.host}:{fresh.addresses.grpc}", memory="system") as detector:
        mutations = Mutations(fresh.addresses, detector.frames(1, 8, 8))

        def send(number: int) -> str:
            name = f"{number:0>200}"
            if number % 4 == 0:
                request = tile_request(Place(name, 1, 0), tile, {})
                end = mutations.infer(message_of(request).SerializeToString())
                return NO_ROOM if NO_ROOM in end else end
            return mutations.infer(message_of(Request(name, "image", image)).SerializeToString())

        concurrently(send, range(NAMES, NAMES + NAMES // 10))
        memory = resident(fresh)
        ends = Counter(concurrently(send, range(NAMES)))
        grown = resident(fresh) - memory
    assert set(ends) <= {"refused", "answered", NO_ROOM}, ends
    assert ends["refused"] == NAMES * 3 // 4
    assert grown < GROWTH, f"grew by {grown / 1e6:.0f} MB from {memory / 1e6:.0f} MB"
    assert Client(fresh.addresses).ready()
