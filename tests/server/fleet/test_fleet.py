"""Several servers that are one to their clients."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tests.conftest import REPOSITORY
from tests.deploy.sending import UNAVAILABLE, at_once, encoded
from tests.server.fleet.conftest import SERVERS, fleet_of
from tests.server.fleet.load import IMAGES
from tests.server.fleet.test_faults import healthy, triton, wait_until, whole
from tests.server.wire import concurrently
from triton_yolo.clients import DetectionError, Detector
from triton_yolo.contract import STREAM_HEADER
from triton_yolo.server.fleet.fleet import Fleet

DONE = re.compile(r'^nv_inference_request_success\{server="(\d)",model="detect",version="1"\} (\d+)$', re.MULTILINE)

REACHED = re.compile(r"^envoy_http_downstream_rq_max_duration_reached\S* [1-9]", re.MULTILINE)


def metrics(fleet: Fleet) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{fleet.addresses.metrics}/metrics", timeout=10) as answer:
        assert answer.headers.get_content_type() == "text/plain"
        return str(answer.read().decode())


def done(fleet: Fleet) -> Counter[str]:
    """Requests to `detect` that each server has answered."""
    return Counter({server: int(count) for server, count in DONE.findall(metrics(fleet))})


def get(fleet: Fleet, path: str, content: bytes | None = None) -> tuple[int, str]:
    """Status and body over HTTP."""
    request = urllib.request.Request(f"http://127.0.0.1:{fleet.addresses.http}{path}", content)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def client(fleet: Fleet) -> Iterator[tritonclient.grpc.InferenceServerClient]:
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{fleet.addresses.grpc}") as one:
        yield one


def test_every_server_has_a_share_and_each_request_runs_once(fleet: Fleet, detector: Detector) -> None:
    before = done(fleet)
    found = concurrently(detector.detect, IMAGES * 6, threads=6)
    for number, one in enumerate(found):
        np.testing.assert_array_equal(one.boxes, found[number % len(IMAGES)].boxes)
    shares = done(fleet) - before
    assert shares.total() == len(IMAGES) * 6
    assert len(shares) == SERVERS


def test_http_gives_what_grpc_gives(fleet: Fleet, detector: Detector) -> None:
    with Detector(f"http://127.0.0.1:{fleet.addresses.http}") as other:
        np.testing.assert_array_equal(other.detect(IMAGES[0]).boxes, detector.detect(IMAGES[0]).boxes)


def test_frames_that_are_larger_than_what_envoy_keeps_go_through(detector: Detector) -> None:
    frames = np.full((8, 960, 1280, 3), 114, np.uint8)
    assert len(detector.detect_frames(frames)) == 8


def test_the_metrics_tell_the_servers_apart(fleet: Fleet) -> None:
    text = metrics(fleet)
    families = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(families) == len(set(families))
    for name in ("triton_yolo_server_up", "triton_yolo_server_starts_total", "yolo_arithmetic"):
        assert re.findall(rf'^{name}\{{server="(\d)"', text, re.MULTILINE) == ["0", "1", "2"]
    assert 'envoy_cluster_membership_healthy{envoy_cluster_name="grpc"} 3' in text
    assert get(fleet, "/metrics")[0] == 403, "they have a port of their own"


def test_what_is_about_one_server_is_refused_with_words(
    fleet: Fleet, client: tritonclient.grpc.InferenceServerClient
) -> None:
    for path in ("/v2/trace/setting", "/v2/repository/index", "/v2/models/detect/unload", "/v2/logging", "/"):
        status, body = get(fleet, path)
        assert status == 403
        assert "ask one of them at its own address" in json.loads(body)["error"]
    with pytest.raises(InferenceServerException, match="ask one of them at its own address") as refused:
        client.get_trace_settings()
    assert refused.value.status() == "StatusCode.PERMISSION_DENIED"
    assert get(fleet, "/v2/models/detect/config")[0] == 200
    assert client.get_model_metadata("detect").name == "detect"


def test_the_requests_of_a_stream_go_to_one_server(
    fleet: Fleet, client: tritonclient.grpc.InferenceServerClient
) -> None:
    chosen = set()
    for number in range(12):
        before = done(fleet)
        for _ in range(3):
            client.infer("detect", [encoded(IMAGES[0])], headers={STREAM_HEADER: f"camera {number}"})
        [server] = done(fleet) - before
        chosen.add(server)
    assert len(chosen) > 1, "streams are spread over the servers"


@pytest.mark.slow
def test_shared_memory_is_registered_with_every_server_also_with_one_that_was_started_anew(fleet: Fleet) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 96, 128, 3), np.uint8)
    with (
        Detector(f"127.0.0.1:{fleet.addresses.grpc}", memory="system") as detector,
        Detector(fleet.members[0].grpc) as alone,
        detector.frames(*frames.shape[:3]) as shared,
    ):
        expected = alone.detect_frames(frames)
        shared.array[...] = frames
        fleet.members[1].renew()
        wait_until(lambda: "1" not in healthy(fleet), "it does not end")
        wait_until(lambda: whole(fleet), "it does not come back")
        for found in concurrently(lambda _: detector.detect_frames(shared), range(12), threads=3):
            np.testing.assert_array_equal(found[0].boxes, expected[0].boxes)
        name = shared.name
        assert name in get(fleet, "/v2/systemsharedmemory/status")[1]
        for member in fleet.members:
            with tritonclient.grpc.InferenceServerClient(member.grpc) as own:
                assert list(own.get_system_shared_memory_status().regions) == [name]
    assert get(fleet, "/v2/systemsharedmemory/status") == (200, "[]")
    for member in fleet.members:
        with tritonclient.grpc.InferenceServerClient(member.grpc) as own:
            assert not own.get_system_shared_memory_status().regions


def test_shared_memory_goes_over_http_too(fleet: Fleet) -> None:
    frames = np.zeros((1, 96, 128, 3), np.uint8)
    with Detector(f"http://127.0.0.1:{fleet.addresses.http}", memory="system") as detector:
        assert len(detector.detect_frames(frames)) == 1


def test_a_region_that_a_server_refuses_is_registered_with_none(
    fleet: Fleet, client: tritonclient.grpc.InferenceServerClient
) -> None:
    with pytest.raises(InferenceServerException, match="Unable to open shared memory region"):
        client.register_system_shared_memory("absent", "/triton-yolo-absent", 64)
    assert not client.get_system_shared_memory_status().regions
    for body, words in ((b"[]", "must be an object"), (b'{"key": 1}', "cannot be read"), (b"{", "must be an object")):
        status, answer = get(fleet, "/v2/systemsharedmemory/region/a/register", body)
        assert status == 400
        assert words in json.loads(answer)["error"]


@pytest.mark.parametrize("key", ["triton-yolo-{pid}-0-triton_python_backend_shm_region_1", "//triton-yolo-1-2-x"])
def test_memory_of_the_servers_own_is_no_client_s(client: tritonclient.grpc.InferenceServerClient, key: str) -> None:
    """Whoever could write there would run code in the server (CVE-2025-23319 and the two beside it)."""
    with pytest.raises(InferenceServerException, match="the servers' own"):
        client.register_system_shared_memory("own", key.format(pid=os.getpid()), 64)


def test_a_deadline_ends_the_request_at_the_server_too(
    fleet: Fleet, client: tritonclient.grpc.InferenceServerClient
) -> None:
    processes = [triton(member) for member in fleet.members]
    for process in processes:
        process.send_signal(signal.SIGSTOP)

    def ends_there() -> bool:
        """Ask once more: where the client gives up first, Envoy counts a request that was cancelled."""
        with pytest.raises(InferenceServerException) as late:
            client.infer("detect", [encoded(IMAGES[0])], client_timeout=0.3)
        assert late.value.status() == str(grpc.StatusCode.DEADLINE_EXCEEDED)
        return REACHED.search(fleet.envoy.figures()) is not None

    try:
        wait_until(ends_there, "Envoy still waits for the answer")
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
    wait_until(lambda: whole(fleet), "they are not taken back")


@pytest.mark.slow
def test_a_full_queue_sends_a_request_to_another_server_and_ejects_nobody(tmp_path: Path) -> None:
    repository = shutil.copytree(REPOSITORY, tmp_path / "repository")
    for config in repository.glob("*/config.pbtxt"):
        config.write_text(re.sub(r"max_queue_size: \d+", "max_queue_size: 2", config.read_text()))
    with fleet_of(repository, 2) as fleet:
        ends = at_once(fleet.addresses.grpc, 60)
        assert ends.pop("ok") > 0
        assert all("Exceeds maximum queue size" in end and end.startswith(UNAVAILABLE) for end in ends), ends
        found = re.search(r'^envoy_cluster_upstream_rq_retry\{envoy_cluster_name="grpc"\} (\d+)', metrics(fleet), re.M)
        assert found is not None
        assert int(found[1]) > 0
        assert whole(fleet)


@pytest.mark.slow
def test_a_server_that_is_not_there_is_told_as_triton_tells_it(cells_repository: Path) -> None:
    with fleet_of(cells_repository, 1) as fleet:
        fleet.members[0].drain()
        with (
            Detector(f"http://127.0.0.1:{fleet.addresses.http}") as http,
            Detector(f"127.0.0.1:{fleet.addresses.grpc}") as other,
        ):
            for detector in (http, other):
                with pytest.raises(DetectionError, match=r"is not available \(no healthy upstream\)"):
                    detector.detect(IMAGES[0])
