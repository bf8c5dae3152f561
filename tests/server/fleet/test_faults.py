"""Servers of a fleet that die, hang, and are replaced, under load."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.server.fleet.conftest import fleet_of
from tests.server.fleet.load import CLIENTS, IMAGES, Load
from tests.server.processes import stubs
from triton_yolo.clients import Detector
from triton_yolo.server.errors import ServerError
from triton_yolo.server.fleet import member as member_module
from triton_yolo.server.fleet.fleet import Fleet
from triton_yolo.server.fleet.member import FAILED_STARTS, Member

SECONDS = 180  # for what must happen, on a busy machine
NOT_RUN = ("no healthy upstream", "connection failure")  # Envoy's words where no server had the request
BETWEEN = 2.0  # seconds between two kills


def wait_until(condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def healthy(fleet: Fleet) -> set[str]:
    """Names of the servers that Envoy sends requests to; none while it starts."""
    try:
        seen = fleet.envoy.sees([member.endpoint for member in fleet.members])
    except OSError:
        return set()
    return {name for name, one in seen.items() if one.healthy}


def whole(fleet: Fleet) -> bool:
    return healthy(fleet) == {member.name for member in fleet.members}


def triton(member: Member) -> psutil.Process:
    assert member.server is not None
    return psutil.Process(member.server.running.pid)


def kill_one_after_another(fleet: Fleet, load: Load, kills: int) -> None:
    """Kill a server that is ready every two seconds, or later where none is or none answers."""
    rng = random.Random(1)
    for _ in range(kills):
        wait_until(lambda: bool(admitted(fleet)), "no server comes back")
        triton(rng.choice(admitted(fleet))).kill()
        time.sleep(BETWEEN)
        fleet.watch()
        load.wait_for(10)


def admitted(fleet: Fleet) -> list[Member]:
    """The servers that get requests."""
    return [member for member in fleet.members if member.admitted and member.server]


@pytest.mark.slow
@pytest.mark.parametrize("kills", [6, pytest.param(25, marks=pytest.mark.long)])
def test_servers_that_are_killed_every_two_seconds_cost_at_most_what_they_had(
    fleet: Fleet, load: Callable[[], Load], kills: int
) -> None:
    before = sum(member.starts for member in fleet.members)
    with load() as running:
        kill_one_after_another(fleet, running, kills)
        wait_until(lambda: whole(fleet), "the servers did not come back")
        running.wait_for(50)
    assert running.answered > 10 * kills
    lost = sum(
        count for words, count in running.unavailable.items() if not any(not_run in words for not_run in NOT_RUN)
    )
    assert lost <= kills * CLIENTS, running.unavailable
    assert sum(member.starts for member in fleet.members) == before + kills
    assert not [p for p in psutil.Process().children(recursive=True) if p.status() == psutil.STATUS_ZOMBIE]


@pytest.mark.slow
def test_a_rolling_restart_of_all_costs_no_request(fleet: Fleet, load: Callable[[], Load]) -> None:
    before = [(member.starts, triton(member).pid) for member in fleet.members]
    with load() as running:
        running.wait_for(20)
        fleet.renew()
        running.wait_for(20)
    assert not running.unavailable
    for member, (starts, pid) in zip(fleet.members, before, strict=True):
        assert member.starts == starts + 1
        assert triton(member).pid != pid
    assert whole(fleet)


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_ejected_and_taken_back(fleet: Fleet, load: Callable[[], Load]) -> None:
    slow = fleet.members[1]
    process = triton(slow)
    with load() as running:
        running.wait_for(20)
        process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: slow.name not in healthy(fleet), "it still gets requests")
            running.wait_for(100)
        finally:
            process.send_signal(signal.SIGCONT)
        wait_until(lambda: whole(fleet), "it is not taken back")
    assert running.unavailable.total() <= CLIENTS, "what it had; all others went elsewhere"
    assert triton(slow).pid == process.pid


@pytest.mark.slow
def test_a_killed_stub_costs_what_reached_it_and_its_server_is_started_again(
    fleet: Fleet, load: Callable[[], Load]
) -> None:
    broken = fleet.members[2]
    starts = broken.starts
    with load() as running:
        running.wait_for(20)
        next(p for p in stubs(triton(broken).pid) if any("/yolo/" in part for part in p.cmdline())).kill()
        wait_until(lambda: broken.starts > starts and whole(fleet), "it did not come back")
        before = running.unavailable.total()
        running.wait_for(50)
    assert running.unavailable.total() == before


@pytest.mark.slow
def test_envoy_that_is_killed_comes_back(fleet: Fleet, load: Callable[[], Load]) -> None:
    assert fleet.envoy.process is not None
    with load() as running:
        running.wait_for(20)
        os.kill(fleet.envoy.process.pid, signal.SIGKILL)
        wait_until(lambda: fleet.envoy.ended is not None, "it is still there")
        fleet.watch()
        running.wait_for(50)
    assert whole(fleet)


@pytest.mark.slow
def test_a_server_that_does_not_start_any_more_is_left_out_and_the_others_answer(
    cells_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member_module, "FIRST_PAUSE", 0.01)
    repository = shutil.copytree(cells_repository, tmp_path / "repository")
    with fleet_of(repository, 2) as fleet, Detector(f"127.0.0.1:{fleet.addresses.grpc}") as detector:
        for file in repository.glob("preprocess*/1/dali.py"):
            file.unlink()
        triton(fleet.members[0]).kill()
        wait_until(lambda: fleet.members[0].given_up, "it is still started again")
        assert fleet.members[0].starts == 1 + FAILED_STARTS
        assert "dali.py is missing" in fleet.members[0].error
        fleet.watch()
        for image in IMAGES:
            detector.detect(image)
        triton(fleet.members[1]).kill()
        wait_until(lambda: fleet.members[1].given_up, "it is still started again")
        with pytest.raises(ServerError, match=r"no server is left: .*dali\.py is missing"):
            fleet.watch()
