"""triton-yolo demo --line: a line with its page, from nothing, and nothing left behind."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect

from tests.clients.commands import run
from tests.clients.stream.lines import until
from tests.clients.stream.sinks.page.conftest import chromium, tab
from tests.clients.stream.sinks.page.plant import PATIENCE
from tests.conftest import ROOT
from triton_yolo.clients.stream.line import read_line
from triton_yolo.server import demo_line
from triton_yolo.server.demo import main
from triton_yolo.server.process import TritonServer

expect.set_options(timeout=2 * PATIENCE * 1e3)
__all__ = ["chromium", "tab"]  # fixtures


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_shows_a_line_whose_boards_pass_and_fail_until_it_is_stopped(
    tmp_path: Path, tab: Page, how: signal.Signals
) -> None:
    said = tmp_path / "said"
    command = [sys.executable, "-m", "triton_yolo", "demo", "--line", "--page", "127.0.0.1:0", "--no-browser"]
    with said.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
    try:
        url = until(lambda: re.search(r"The line's page is at (http://\S+)", said.read_text()), "the address")[1]
        tab.goto(url)
        expect(tab.locator(".tile")).to_have_count(len(demo_line.CAMERAS))
        if how == signal.SIGINT:  # once is enough
            expect(tab.locator(".failure img").first).to_be_visible()
            expect(tab.locator("#defects tbody tr").nth(1).locator("td").first).not_to_have_text("0")
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(how)
        assert process.wait(PATIENCE) == 0, said.read_text()
        _, alive = psutil.wait_procs(family, PATIENCE)
        assert not alive
        expect(tab.locator("#stale")).to_be_visible()
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in said.read_text()
    assert "Stopping" in said.read_text()


def test_a_server_that_runs_is_taken(server: TritonServer, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"{server.addresses.host}:{server.addresses.grpc}"
    monkeypatch.setattr(demo_line, "USUAL", address)
    monkeypatch.setattr(demo_line, "TritonServer", None)  # none is started
    with demo_line._server(ROOT / "model_repository") as found:
        assert found == address


def test_a_port_that_is_taken_is_said_before_a_server_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run(main, "--line", "--page", address)
    assert result.exit_code == 2
    assert result.stderr == (
        f"triton-yolo demo: cannot listen on {address}: Address already in use; choose another HOST:PORT\n"
    )


def test_packages_that_are_missing_are_said_before_a_server_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_line, "NEEDED", ("json", "no_such_package"))
    result = run(main, "--line", "--page", "127.0.0.1:0")
    assert result.exit_code == 2
    assert re.fullmatch(
        r"triton-yolo demo: no_such_package is not installed: .*pip install .*\[stream\]'\n", result.stderr
    )


def test_a_line_that_cannot_run_ends_the_demo_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_line, "_server", lambda repository: _Nowhere())
    result = run(main, "--line", "--page", "127.0.0.1:0", "--no-browser")
    assert result.exit_code == 2


class _Nowhere:
    """An address where no server is."""

    def __enter__(self) -> str:
        return "127.0.0.1:1"

    def __exit__(self, *_: object) -> None:
        pass


def test_the_demo_s_line_is_one_that_the_command_reads(tmp_path: Path) -> None:
    file = tmp_path / "line.yaml"
    file.write_text(demo_line._line("127.0.0.1:8001"))
    line = read_line(file)
    assert [camera.name for camera in line.cameras] == list(demo_line.CAMERAS)
    for name, (_, defects) in demo_line.CAMERAS.items():
        assert 0 < sum(map(bool, defects)) < len(defects), name  # some fail, and most pass


def test_no_browser_of_text_is_opened_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not demo_line._has_screen()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert demo_line._has_screen()
