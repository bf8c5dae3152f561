"""Requests that the pip tritonserver (24.10) does not survive, which docs/security.md lists: how the launcher takes it.

Where one of them is only refused, the tritonserver is a newer one: the hole is closed, and the row can go.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tritonclient.grpc import service_pb2

from tests.faults.mutated_requests import Mutations
from tests.server.fleet.conftest import fleet_of
from tests.server.fleet.test_faults import wait_until, whole
from tests.server.processes import remains
from tests.server.test_lifecycle import SECONDS, started
from triton_yolo.clients import Detector

INFER = "/v2/models/detect/infer"
DEEP = 1_000_000  # brackets: the parser's stack ends before


def shaped(model: str, name: str, shape: list[int]) -> bytes:
    """A request over gRPC without a byte of a tensor."""
    message = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[b""])
    message.inputs.add(name=name, datatype="UINT8", shape=shape)
    return message.SerializeToString()


def numbers(shape: list[int]) -> bytes:
    """A request in JSON whose shape is larger than its tensor."""
    tensor = {"name": "image", "shape": shape, "datatype": "UINT8", "data": [1]}
    return json.dumps({"inputs": [tensor]}).encode()


HOLES: dict[str, tuple[Callable[[Mutations], str], str]] = {
    "JSON that is nested deeply": (
        lambda client: client.post(INFER, b'{"inputs":' + b"[" * DEEP + b"]" * DEEP + b"}"),
        "tritonserver ended with status -11",
    ),
    "JSON with a shape larger than the memory": (
        lambda client: client.post(INFER, numbers([1, 2**62])),
        "tritonserver ended with status -6",
    ),
    "a shape below zero": (
        lambda client: client.infer(shaped("detect_frames", "frames", [1, 0, -5, 3])),
        "the process of a Python model has died",
    ),
    "a shape whose product overflows to nothing": (
        lambda client: client.infer(shaped("detect", "image", [16, 2**60])),
        "the process of a Python model has died",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("hole", HOLES)
def test_one_server_ends_with_words_and_leaves_nothing(tmp_path: Path, cells_repository: Path, hole: str) -> None:
    send, words = HOLES[hole]
    with started(tmp_path, "--repository", str(cells_repository)) as server:
        server.wait_until_ready()
        family = psutil.Process(server.process.pid).children(recursive=True)
        with Detector(f"127.0.0.1:{server.addresses.grpc}", memory="system") as detector:
            assert send(Mutations(server.addresses, detector.frames(1, 8, 8))) != "answered"
        assert server.process.wait(SECONDS) == 2
        assert server.process.stderr
        assert words in server.process.stderr.read().splitlines()[-1]
        _, alive = psutil.wait_procs(family, timeout=5)
        assert not alive
        assert remains(server.process.pid) == []


@pytest.mark.long
@pytest.mark.slow
def test_several_servers_lose_one_at_a_time_and_start_it_again(cells_repository: Path) -> None:
    with fleet_of(cells_repository, 2) as fleet, Detector(fleet.members[0].grpc, memory="system") as detector:
        client = Mutations(fleet.addresses, detector.frames(1, 8, 8))
        for number, (send, _) in enumerate(HOLES.values(), 1):
            assert send(client) != "answered"
            wait_until(lambda wanted=number: sum(m.starts for m in fleet.members) == 2 + wanted, "none was lost")
            wait_until(lambda: whole(fleet), "it did not come back")
