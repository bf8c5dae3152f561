"""The script that a server in a container is started with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "deploy" / "start.sh"
PREFIX = f"triton-yolo-test-{os.getpid()}-"
MINE, OTHER, FOREIGN = (
    Path("/dev/shm", name) for name in (f"{PREFIX}region", f"other-{PREFIX}region", f"{PREFIX}foreign")
)


@pytest.fixture
def left() -> Iterator[None]:
    """Regions of a server that crashed, of one with another prefix, and of another user."""
    for path in (MINE, OTHER, FOREIGN):
        path.touch()
    if not os.geteuid():
        os.chown(FOREIGN, 65534, 65534)
    yield
    for path in (MINE, OTHER, FOREIGN):
        path.unlink(missing_ok=True)


@pytest.mark.usefixtures("left")
def test_what_a_crashed_server_of_this_user_left_is_removed_and_nothing_else() -> None:
    command = ["bash", SCRIPT, PREFIX, "echo", "a b", "--flag"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (result.returncode, result.stdout) == (0, "a b --flag\n")
    assert not MINE.exists()
    assert OTHER.exists()
    assert FOREIGN.exists() == (not os.geteuid())


def test_the_command_takes_the_place_of_the_script_so_that_it_gets_the_signals() -> None:
    command = ["bash", SCRIPT, PREFIX, "sh", "-c", "echo $$; exit 7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert int(process.stdout.read()) == process.pid
    assert process.returncode == 7


def test_without_a_prefix_nothing_is_removed() -> None:
    assert subprocess.run(["bash", SCRIPT], capture_output=True, timeout=20).returncode != 0
    assert subprocess.run(["bash", SCRIPT, "", "true"], capture_output=True, timeout=20).returncode != 0
