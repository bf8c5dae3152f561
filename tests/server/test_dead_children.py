"""Children that have ended while their parent has not noticed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from triton_yolo.server.process import dead_children


def test_only_a_child_that_has_ended_is_dead() -> None:
    with subprocess.Popen(["sleep", "60"]) as alive, subprocess.Popen(["true"]) as dead:
        end = time.monotonic() + 10
        while dead.pid not in dead_children(os.getpid()):
            assert time.monotonic() < end
        assert alive.pid not in dead_children(os.getpid())
        alive.kill()
    assert not {alive.pid, dead.pid} & set(dead_children(os.getpid()))


@pytest.mark.slow
def test_threads_and_processes_that_end_meanwhile_do_no_harm() -> None:
    """The lists of the kernel are gone between the look at the folder and the look into the file."""
    code = "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(0.0005,)).start()"
    with subprocess.Popen([sys.executable, "-c", code]) as busy:
        try:
            end = time.monotonic() + 3
            while time.monotonic() < end:
                assert dead_children(busy.pid) == []
            threading.Timer(0.1, busy.kill).start()
            end = time.monotonic() + 1
            while time.monotonic() < end:
                dead_children(busy.pid)
        finally:
            busy.kill()
    assert dead_children(busy.pid) == [], "a process that is gone has no children"
