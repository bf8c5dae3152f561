"""docker compose --profile scale up: several servers behind Envoy, one of which is killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.project import Project
from tests.deploy.sending import BOARD
from triton_yolo.clients import Detector

pytestmark = pytest.mark.slow

PROFILE = ("--profile", "scale")
SERVERS = ("containers-servers-1", "containers-servers-2")


@pytest.fixture(scope="module")
def up(project: Project) -> Iterator[Project]:
    """The services of the profile; servers healthy, and Envoy running."""
    project.compose(*PROFILE, "up", "--detach", "--wait", "--wait-timeout", "300")
    yield project
    project.compose("--profile", "*", "down", "--volumes")


def served(project: Project) -> dict[str, float]:
    """How many requests each server has answered, as Prometheus counts them in its metrics."""
    code = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:8002/metrics').read().decode())"
    found = {}
    for name in SERVERS:
        lines = project.engine.docker("exec", name, "python", "-c", code).stdout.splitlines()
        [line] = [line for line in lines if line.startswith('nv_inference_request_success{model="detect",')]
        found[name] = float(line.split()[-1])
    return found


def test_envoy_spreads_requests_over_the_servers_at_one_address(up: Project) -> None:
    before = served(up)
    for url in (f"127.0.0.1:{up.addresses.grpc}", f"http://127.0.0.1:{up.addresses.http}"):
        with Detector(url) as detector:
            up.until(lambda: len(detector.detect(BOARD)) > 0, "no detections")  # at once
            assert len(list(detector.detect_many([BOARD] * 12, concurrency=4))) == 12
    after = served(up)
    assert all(after[name] > before[name] for name in SERVERS), (before, after)


def test_the_others_answer_while_one_that_was_killed_is_started_again(up: Project) -> None:
    victim, other = SERVERS
    count = up.engine.inspect(victim)["RestartCount"]
    up.crash("servers")
    with Detector(f"127.0.0.1:{up.addresses.grpc}") as detector:
        up.until(lambda: up.engine.inspect(victim)["RestartCount"] > count, "it was not started again")
        up.until(lambda: answers(detector), "nobody answers")
        up.until(lambda: up.engine.inspect(victim)["State"]["Health"]["Status"] == "healthy", "it is not healthy again")
    assert up.engine.inspect(other)["RestartCount"] == 0


def answers(detector: Detector) -> bool:
    [found] = detector.detect_many([BOARD], errors="return")
    return not isinstance(found, Exception)


def test_envoy_runs_without_rights(up: Project) -> None:
    for process in up.processes("envoy"):
        assert set(process["Uid"].split()) == {"65532"}
        assert int(process["CapEff"], 16) == int(process["CapBnd"], 16) == 0
        assert process["NoNewPrivs"] == "1"


def test_the_server_s_image_starts_a_server_again_by_itself_where_its_command_says_so(up: Project) -> None:
    """What docs/deploy.md says of servers that may hang."""
    options = ("--detach", "--name", "alone", "--network", "none", "--shm-size", "1g")
    serve = ("python", "-m", "triton_yolo", "serve", "--servers", "1")
    up.engine.docker("run", *options, "triton-yolo-cpu", *serve)
    try:
        up.until(lambda: starts(up) == 1, "it did not start")
        lines = up.engine.docker("top", "alone", "-o", "pid,comm").stdout.splitlines()
        [pid] = [line.split()[0] for line in lines if line.split()[1] == "tritonserver"]
        up.engine.run("kill", "-KILL", pid)
        up.until(lambda: starts(up) == 2, "it was not started again")
        assert up.engine.inspect("alone")["RestartCount"] == 0
    finally:
        up.engine.docker("rm", "--force", "alone")


def starts(project: Project) -> int:
    """How often the server of the container was started, once it is ready; 0 where it is not."""
    code = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:8002/metrics').read().decode())"
    lines = project.engine.docker("exec", "alone", "python", "-c", code, check=False).stdout.splitlines()
    if 'triton_yolo_server_up{server="0"} 1' not in lines:
        return 0
    [count] = [line.split()[1] for line in lines if line.startswith("triton_yolo_server_starts_total")]
    return int(float(count))
