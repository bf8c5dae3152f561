"""docker compose --profile cpu --profile line up: a plant in a browser, with no camera at hand."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from bench.broker import Subscriber
from tests.containers.project import Project

pytestmark = pytest.mark.slow

PROFILES = ("--profile", "cpu", "--profile", "line")
USERS = {"line": "1000", "plc": "1000", "mosquitto": "1883"}


@pytest.fixture(scope="module")
def up(project: Project) -> Iterator[Project]:
    """The services of both profiles; the line waits for the server by itself."""
    project.compose(*PROFILES, "up", "--detach")
    project.until(lambda: project.healthy("triton-cpu"), "triton-cpu is not healthy", 300)
    yield project
    project.compose("--profile", "*", "down", "--volumes")


def logs(project: Project, service: str) -> str:
    return project.compose("--profile", "*", "logs", "--no-color", service).stdout


def asked(project: Project, query: str) -> list[dict[str, Any]]:
    """What Prometheus answers."""
    address = f"http://127.0.0.1:{project.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(address, timeout=10) as answer:
        return list(json.load(answer)["data"]["result"])


def test_the_plc_sees_boards(up: Project) -> None:
    up.until(lambda: "the line is there" in logs(up, "plc"), "the PLC sees no line", 300)
    up.until(lambda: " board 1: " in logs(up, "plc"), "the PLC sees no board", 300)


def test_the_page_is_on_this_machine(up: Project) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{up.page}/", timeout=10) as answer:
        assert b"<title>" in answer.read()


def test_the_broker_has_boards_of_all_cameras(up: Project) -> None:
    with Subscriber(up.mqtt, "triton-yolo/v1/plant/DDATA/line/#") as subscriber:
        subscriber.wait(lambda: len(subscriber.messages) == 4, 300)


def test_prometheus_asks_the_line(up: Project) -> None:
    up.until(lambda: asked(up, 'triton_yolo_server_away{job="line"} == 0'), "no metrics of the line")


def test_every_process_runs_as_its_user_without_rights(up: Project) -> None:
    for service, user in USERS.items():
        for process in up.processes(service):
            assert set(process["Uid"].split()) == {user}, process["Name"]
            assert int(process["CapEff"], 16) == 0, process["Name"]


def test_a_line_that_is_killed_lets_nothing_pass_and_comes_back(up: Project) -> None:
    up.crash("line")
    up.until(lambda: "NO HEARTBEAT: nothing may pass" in logs(up, "plc"), "the PLC has missed no heartbeat")
    up.until(lambda: logs(up, "plc").count("the line is there") >= 2, "the line is not back", 300)
