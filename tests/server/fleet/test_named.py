"""Envoy as the Helm chart runs it: before servers that a name server knows."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.fleet.load import IMAGES
from tests.server.test_lifecycle import wait_for
from triton_yolo.clients import DetectionError, Detector
from triton_yolo.server.fleet.envoy import Envoy
from triton_yolo.server.fleet.envoy_clusters import Name
from triton_yolo.server.fleet.envoy_config import bootstrap
from triton_yolo.server.process import Addresses, TritonServer, free_addresses


@pytest.fixture(scope="module")
def envoy(cells_server: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """Where an Envoy listens that stands before one server."""
    at, admin = free_addresses(), free_addresses().http
    server = Name("localhost", cells_server.addresses.grpc, cells_server.addresses.http)
    config = bootstrap(
        "127.0.0.1",
        at.grpc,
        at.http,
        server,
        1,
        {"socket_address": {"address": "127.0.0.1", "port_value": admin}},
        figures=at.metrics,
    )
    running = Envoy(Path(tmp_path_factory.mktemp("envoy")), lambda line: None)
    running.start(config)
    try:
        wait_for(lambda: status(f"http://127.0.0.1:{at.http}/v2/health/ready") == 200, str(running.last_lines))
        yield at
    finally:
        running.stop()


def status(url: str) -> int:
    """Of an answer; 0 where there is none."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_it_answers_as_the_server_does(envoy: Addresses, cells_server: TritonServer, scheme: str) -> None:
    own = cells_server.addresses
    urls = [f"{scheme}127.0.0.1:{at.http if scheme else at.grpc}" for at in (envoy, own)]
    found = []
    for url in urls:
        with Detector(url) as detector:
            found.append(detector.detect(IMAGES[0]))
    assert found[0].boxes.tolist() == found[1].boxes.tolist()


def test_shared_memory_is_refused_with_words(envoy: Addresses) -> None:
    with (
        Detector(f"127.0.0.1:{envoy.grpc}", memory="system") as detector,
        pytest.raises(DetectionError, match=r"the address is that of several.*needs a server on this machine"),
    ):
        detector.frames(1, 64, 64)


def test_its_metrics_and_readiness_have_a_port_and_its_own_interface_has_none(envoy: Addresses) -> None:
    at = f"http://127.0.0.1:{envoy.metrics}"
    with urllib.request.urlopen(f"{at}/metrics", timeout=5) as answer:
        assert b'envoy_cluster_membership_healthy{envoy_cluster_name="grpc"} 1' in answer.read()
    assert status(f"{at}/ready") == 200
    assert [status(f"{at}/{path}") for path in ("quitquitquit", "config_dump", "")] == [404, 404, 404]
