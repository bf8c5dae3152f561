"""What is said to people never stops the line."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
import time

import pytest
from rich.console import Console

from triton_yolo.clients.stream import aside as module
from triton_yolo.clients.stream import view as views
from triton_yolo.clients.stream.aside import Aside, AsideHandler
from triton_yolo.clients.stream.cameras import Cameras
from triton_yolo.clients.stream.view import View


def test_things_are_done_in_order() -> None:
    aside, done = Aside(), list[int]()
    for number in range(20):
        assert aside.do(lambda one=number: done.append(one))
    assert aside.flush()
    assert done == list(range(20))


def test_what_finds_no_room_is_left_out_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.1)
    go, aside = threading.Event(), Aside(2)
    assert aside.do(go.wait)
    assert not all(aside.do(int) for _ in range(3))
    assert not aside.flush()
    go.set()
    monkeypatch.undo()
    assert aside.flush()


def test_somebody_who_has_gone_ends_nothing() -> None:
    def gone() -> None:
        raise BrokenPipeError

    aside, done = Aside(), list[int]()
    aside.do(gone)
    aside.do(lambda: done.append(1))
    assert aside.flush()
    assert done == [1]


def test_log_lines_come_out(capsys: pytest.CaptureFixture[str]) -> None:
    handler = AsideHandler()
    handler.setFormatter(logging.Formatter("said: %(message)s"))
    handler.handle(logging.makeLogRecord({"msg": "one %d", "args": (1,)}))
    handler.flush()
    assert capsys.readouterr().err == "said: one 1\n"


def test_a_pipe_that_nobody_reads_does_not_stop_who_logs() -> None:
    program = """
import logging, sys
from triton_yolo.clients.stream.aside import AsideHandler
logging.basicConfig(handlers=[AsideHandler()])
for number in range(5000):
    logging.warning("x" * 100)
print("done", flush=True)
"""
    read, write = os.pipe()  # 64 kB, and nobody reads it
    try:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=write, text=True, timeout=60)
    finally:
        os.close(read)
        os.close(write)
    assert (done.returncode, done.stdout) == (0, "done\n")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_that_is_held_does_not_stop_the_view(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    go = threading.Event()

    class Held(io.StringIO):
        def write(self, text: str) -> int:
            go.wait(60)
            return super().write(text)

    held = Held()
    monkeypatch.setattr(views, "Console", lambda **_: Console(file=held, force_terminal=terminal, width=80))
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.1)
    cameras = Cameras("test-view", 4, False, lambda: None)
    view = View(cameras, {}, 4, False)
    began = time.monotonic()
    for _ in range(5):
        view.refresh("away")
    view.close()
    assert time.monotonic() - began < 30
    go.set()
    monkeypatch.setattr(module, "CLOSE_SECONDS", 10)
    view.close()
    assert "away" in held.getvalue() or terminal
    os.close(cameras.ready)
