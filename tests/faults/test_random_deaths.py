"""Anything of a fleet may be killed or stand still at any moment: what was asked is answered, and nothing is left."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.conftest import REPOSITORY
from tests.server.cells import copy_with_cells
from tests.server.fleet.conftest import SERVERS, fleet_of
from tests.server.fleet.load import Load
from tests.server.fleet.test_faults import wait_until, whole
from tests.server.processes import STUB, remains
from triton_yolo.clients import Detector
from triton_yolo.server.fleet.fleet import Fleet

logger = logging.getLogger(__name__)

Fault = Callable[[psutil.Process, random.Random], None]


def kill(process: psutil.Process, rng: random.Random) -> None:
    process.kill()


def stand_still(process: psutil.Process, rng: random.Random) -> None:
    """For up to three seconds, which is longer than a health check waits; a model's process is ended meanwhile."""
    process.send_signal(signal.SIGSTOP)
    time.sleep(rng.uniform(0.1, 3))
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGCONT)


def parts(others: set[psutil.Process]) -> list[psutil.Process]:
    """Each tritonserver, each process of a model, and Envoy; not those of other tests."""
    found = []
    for process in set(psutil.Process().children(recursive=True)) - others:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() in ("tritonserver", "envoy") or STUB in "".join(process.cmdline()[:1]):
                found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("faults", [6, pytest.param(60, marks=pytest.mark.long)])
def test_what_was_asked_is_answered_whatever_dies_or_stands_still(tmp_path: Path, faults: int) -> None:
    repository, rng, took = copy_with_cells(REPOSITORY, tmp_path / "repository"), random.Random(faults), []
    others, kept = set(psutil.Process().children(recursive=True)), set(remains(os.getpid()))
    with fleet_of(repository) as fleet:
        with Detector(fleet.members[0].grpc) as alone:
            expected = Load.expected(alone)
        with Load(f"127.0.0.1:{fleet.addresses.grpc}", expected) as load:
            for _ in range(faults):
                time.sleep(rng.uniform(0, 1))
                fault: Fault = rng.choice((kill, kill, stand_still))
                victim, begin = rng.choice(parts(others)), time.monotonic()
                fault(victim, rng)
                wait_until(partial(_mended, fleet, None if fault is stand_still else victim), "it did not come back")
                took.append(time.monotonic() - begin)
                load.wait_for(10)
        folders = set(remains(os.getpid())) - kept
        assert len(folders) >= SERVERS
    assert not set(remains(os.getpid())) & folders
    assert not parts(others)
    logger.info("%d faults; all servers got requests again after %.1f s at most", faults, max(took))


def _mended(fleet: Fleet, killed: psutil.Process | None) -> bool:
    """Whether nothing of a process that was killed is left, and all servers get requests."""
    fleet.watch()
    gone = killed is None or not killed.is_running()
    return gone and fleet.envoy.ended is None and all(member.admitted for member in fleet.members) and whole(fleet)
