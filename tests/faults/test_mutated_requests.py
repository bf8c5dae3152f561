"""Mutated requests of all kinds, many at a time: no crash, no hang, no wrong neighbour, no growth."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.mutated_requests import Mutations
from tests.faults.neighbours import Neighbours
from tests.server.processes import descriptors, resident, whole
from tests.server.wire import Client, concurrently
from triton_yolo.clients import Detector
from triton_yolo.server.process import TritonServer

IN_FLIGHT = 16
EVERY = 4  # one of so many requests is sound
GROWTH = 30e6  # bytes, of some 400 MB: a frame of 1280x960 lost with each thousandth request would be 37 MB


@pytest.mark.parametrize("count", [330, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.long])])
def test_mutated_requests_of_all_kinds_leave_the_server_and_its_other_clients_as_they_were(
    fresh: TritonServer, count: int
) -> None:
    url = f"{fresh.addresses.host}:{fresh.addresses.grpc}"
    with Detector(url, memory="system") as detector, Neighbours(fresh.addresses) as neighbours:
        mutations = Mutations(fresh.addresses, detector.frames(1, 60, 80))

        def send(number: int) -> tuple[str, str]:
            if number % EVERY == 0:
                return "neighbour", neighbours.ask(number // EVERY)
            return mutations.send(number)

        concurrently(send, range(count, count + max(count // 10, 200)), IN_FLIGHT)  # buffers grow to what this needs
        processes = [process.pid for process in whole(fresh)]
        memory, opened, threads = resident(fresh), descriptors(fresh), _threads(fresh)
        ends = Counter(concurrently(send, range(count), IN_FLIGHT))
        grown = resident(fresh) - memory

    kinds = {kind for kind, _ in ends} - {"neighbour"}
    assert {end for kind, end in ends if kind != "neighbour"} == {"answered", "refused"}, ends
    assert {end for kind, end in ends if kind == "neighbour"} == {"right"}, ends
    assert ends["neighbour", "right"] >= count // EVERY
    assert kinds == set(mutations.kinds)
    assert all(ends[kind, "refused"] for kind in kinds), "a kind whose mutations harm nothing shows nothing"
    assert Client(fresh.addresses).ready()
    assert [process.pid for process in whole(fresh)] == processes
    assert descriptors(fresh) <= opened + IN_FLIGHT
    assert _threads(fresh) <= threads + IN_FLIGHT
    assert grown < GROWTH, f"grew by {grown / 1e6:.0f} MB from {memory / 1e6:.0f} MB"


def _threads(server: TritonServer) -> int:
    return sum(process.num_threads() for process in whole(server))
