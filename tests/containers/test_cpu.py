"""docker compose --profile cpu up, and what a user sees of it, in the order of a user's day."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.containers.project import Project
from tests.deploy.sending import BOARD
from triton_yolo.clients import Detector

pytestmark = pytest.mark.slow

PROFILE = ("--profile", "cpu")
SERVICES = ("triton-cpu", "prometheus", "grafana")
USERS = {"triton-cpu": "1000", "prometheus": "65534", "grafana": "472"}


@pytest.fixture(scope="module")
def up(project: Project) -> Iterator[Project]:
    """The services of the profile, healthy."""
    project.compose(*PROFILE, "up", "--detach", "--wait", "--wait-timeout", "300")
    yield project
    project.compose("--profile", "*", "down", "--volumes")


def found(project: Project, url: str) -> int:
    """How many defects the server finds on a board, once it answers."""
    with Detector(url) as detector:
        return len(detector.detect(BOARD))


def asked(project: Project, query: str) -> list[dict[str, Any]]:
    """What Prometheus answers."""
    address = f"http://127.0.0.1:{project.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(address, timeout=10) as answer:
        return list(json.load(answer)["data"]["result"])


def test_all_services_run_and_the_server_is_healthy(up: Project) -> None:
    assert up.engine.listed("container") == {up.container(service) for service in SERVICES}
    assert all(up.state(service)["Running"] for service in SERVICES)
    assert up.healthy("triton-cpu")


def test_detections_come_over_the_published_ports(up: Project) -> None:
    at = up.addresses
    assert found(up, f"127.0.0.1:{at.grpc}") == found(up, f"http://127.0.0.1:{at.http}") > 0


def test_ports_are_published_on_this_machine_alone(up: Project) -> None:
    for service in SERVICES:
        ports = up.engine.inspect(up.container(service))["NetworkSettings"]["Ports"]
        bound = [binding["HostIp"] for bindings in ports.values() for binding in bindings or ()]
        assert bound
        assert set(bound) == {"127.0.0.1"}


def test_every_process_runs_as_its_user_without_rights(up: Project) -> None:
    for service, user in USERS.items():
        processes = up.processes(service)
        assert processes
        for process in processes:
            assert set(process["Uid"].split()) == {user}, process["Name"]
            assert int(process["CapEff"], 16) == int(process["CapBnd"], 16) == 0, process["Name"]
            assert process["NoNewPrivs"] == "1", process["Name"]
    assert any(process["Name"] == "tritonserver" for process in up.processes("triton-cpu"))


def test_what_is_mounted_from_the_checkout_cannot_be_written(up: Project) -> None:
    for service in SERVICES:
        bound = [mount for mount in up.engine.inspect(up.container(service))["Mounts"] if mount["Type"] == "bind"]
        assert bound
        assert not any(mount["RW"] for mount in bound)
    # As root too, who may write to what is not mounted so.
    command = ("exec", "--user", "0", up.container("triton-cpu"), "touch", "/repository/yolo/1/written")
    assert "Read-only file system" in up.engine.docker(*command, check=False).stderr


def test_prometheus_scrapes_the_server(up: Project) -> None:
    found(up, f"127.0.0.1:{up.addresses.grpc}")
    query = 'nv_inference_request_success{job="triton",model="detect"}'
    up.until(lambda: any(float(series["value"][1]) > 0 for series in asked(up, query)), "no metrics")
    jobs = {"triton", "prometheus"}
    up.until(lambda: {series["metric"]["job"] for series in asked(up, "up == 1")} == jobs, "not both are scraped")


def test_a_server_that_crashes_comes_back(up: Project) -> None:
    """What it left in /tmp and in /dev/shm is gone then."""
    kept = {folder: len(up.in_container("triton-cpu", "ls", folder).stdout.split()) for folder in ("/tmp", "/dev/shm")}
    assert all(kept.values())
    up.crash("triton-cpu")
    count = up.engine.inspect(up.container("triton-cpu"))["RestartCount"]
    up.until(lambda: up.engine.inspect(up.container("triton-cpu"))["RestartCount"] > count, "it was not restarted")
    up.until(lambda: up.healthy("triton-cpu"), "it is not healthy again")
    assert found(up, f"127.0.0.1:{up.addresses.grpc}") > 0
    for folder, number in kept.items():
        assert len(up.in_container("triton-cpu", "ls", folder).stdout.split()) == number, folder


def test_a_stub_that_crashes_makes_the_server_start_again(up: Project) -> None:
    count = up.engine.inspect(up.container("triton-cpu"))["RestartCount"]
    up.crash("triton-cpu", name="triton_python_b")
    up.until(lambda: up.engine.inspect(up.container("triton-cpu"))["RestartCount"] > count, "it was not restarted")
    up.until(lambda: up.healthy("triton-cpu"), "it is not healthy again")
    assert found(up, f"127.0.0.1:{up.addresses.grpc}") > 0


def test_docker_kill_is_a_stop_by_hand_and_up_brings_it_back(up: Project) -> None:
    up.engine.docker("kill", up.container("triton-cpu"))
    up.compose(*PROFILE, "up", "--detach", "--wait", "--wait-timeout", "300")
    assert up.healthy("triton-cpu")
    assert found(up, f"127.0.0.1:{up.addresses.grpc}") > 0


def test_a_second_up_changes_nothing(up: Project) -> None:
    before = {service: up.engine.inspect(up.container(service))["Id"] for service in SERVICES}
    up.compose(*PROFILE, "up", "--detach", "--wait", "--wait-timeout", "300")
    assert {service: up.engine.inspect(up.container(service))["Id"] for service in SERVICES} == before


def test_down_without_the_profile_leaves_its_server(up: Project) -> None:
    """So README says --profile '*'."""
    up.compose("down", check=False)
    assert up.engine.listed("container") == {up.container("triton-cpu")}


def test_down_of_all_profiles_leaves_nothing_but_the_volumes(up: Project) -> None:
    up.compose("--profile", "*", "down")
    assert not up.engine.listed("container")
    assert up.engine.listed("network") == {"none", "host"}
    assert up.engine.listed("volume") == {"containers_prometheus", "containers_grafana"}
    up.addresses.check_free()


def test_it_comes_up_again_after_down(up: Project) -> None:
    up.compose(*PROFILE, "up", "--detach", "--wait", "--wait-timeout", "300")
    assert found(up, f"127.0.0.1:{up.addresses.grpc}") > 0


def test_with_volumes_down_leaves_nothing_at_all(up: Project) -> None:
    up.compose("--profile", "*", "down", "--volumes")
    assert not up.engine.listed("container") | up.engine.listed("volume")
    assert up.engine.listed("network") == {"none", "host"}
