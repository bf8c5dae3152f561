"""The page of the real command: a line of drawn cameras against the real server, in a real browser."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.clients.stream.lines import RunningLine, camera, grpc_url, until
from tests.clients.stream.sinks.page.plant import PATIENCE, Viewer, line_of, shown
from tests.clients.stream.sinks.page.test_views import tile
from tests.clients.stream.test_usage import CAMERA, refusal
from triton_yolo.clients.stream.addresses import url_of
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.sinks import make_sink
from triton_yolo.clients.stream.sinks.settings import PageSettings
from triton_yolo.server.process import TritonServer

expect.set_options(timeout=PATIENCE * 1e3)


def page_of(line: RunningLine) -> str:
    """The address that the command says."""
    return until(lambda: re.search(r"the page is at (http://\S+)", line.log.read_text()), "the page's address")[1]


@pytest.mark.slow
def test_a_line_is_shown_and_a_camera_that_is_killed_is_dead_until_it_is_back(
    server: TritonServer, tmp_path: Path, tab: Page
) -> None:
    cameras = [camera("top", fps=4), camera("side", fps=4)]
    sinks = [{"kind": "page", "listen": "127.0.0.1:0"}]
    with RunningLine(tmp_path, cameras, url=grpc_url(server), sinks=sinks) as line:
        tab.goto(page_of(line))
        for name in ("top", "side"):
            expect(tile(tab, name)).to_have_attribute("data-look", re.compile("pass|fail"))
        # As a camera whose driver crashes again and again: the third time it is opened only after two seconds.
        for time in range(3):
            line.wait_for("top", lambda row, time=time: row["state"] == "running" and row["restarts"] == time, "runs")
            until(lambda: line.cameras().get("top"), "its process").send_signal(signal.SIGKILL)
        expect(tile(tab, "top")).to_have_attribute("data-look", "dead")
        expect(tile(tab, "side")).to_have_attribute("data-look", re.compile("pass|fail"))
        expect(tab.locator("#overall p")).to_have_text("top")
        expect(tile(tab, "top")).to_have_attribute("data-look", re.compile("pass|fail"))
        expect(tab.locator("#stale")).to_be_hidden()
        report = line.end()
        expect(tab.locator("#stale")).to_be_visible()
    [told] = report["sinks"][1:]
    assert (told["kind"], told["missed"]) == ("page", 0)


def test_what_the_page_counts_is_what_the_line_reports(server: TritonServer, tmp_path: Path) -> None:
    sinks = [{"kind": "page", "listen": "127.0.0.1:0"}]
    with RunningLine(tmp_path, [camera("top", fps=8)], url=grpc_url(server), sinks=sinks) as line:
        address = page_of(line).removeprefix("http://").rstrip("/")
        with Viewer(address) as viewer:
            message = viewer.until(
                "status", lambda message: message["cameras"][0]["pass"] + message["counts"]["fail"] > 20
            )
        line.end()
    [one] = message["cameras"]
    frames = one["pass"] + one["fail"] + one["not_inspected"]
    counted = line.verdicts[:frames]
    assert [sum(verdict["verdict"] == word for verdict in counted) for word in ("pass", "fail", "not inspected")] == [
        one["pass"],
        one["fail"],
        one["not_inspected"],
    ]
    defects = sum(len(verdict["detections"]) for verdict in counted if verdict["verdict"] == "fail")
    assert sum(kind["defects"] for kind in one["classes"].values()) == defects


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refusal("--camera", "synthetic:photo", "--page", address)
    assert said == f"page: cannot listen on {address}: Address already in use; choose another HOST:PORT"


@pytest.mark.parametrize(
    "address", ["8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "http://127.0.0.1:80", "a b:1"]
)
def test_an_address_that_is_none_is_said_in_one_line(address: str) -> None:
    said = refusal("--camera", "synthetic:photo", "--page", address)
    assert said == f"--page {address!r} is no HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080"


def test_a_host_that_is_not_this_machine_is_said_in_one_line() -> None:
    assert "cannot listen on 192.0.2.1:80" in refusal("--camera", "synthetic:photo", "--page", "192.0.2.1:80")
    said = refusal("--camera", "synthetic:photo", "--page", "no-such-host.invalid:80")
    assert said == "page: no-such-host.invalid is no address of this machine"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("listen: nowhere", "sinks[0].listen: 'nowhere' is no HOST:PORT"),
        ("pictures_per_second: 0", "sinks[0].pictures_per_second: Input should be greater than 0"),
        ("colour: red", "sinks[0].colour: unknown key; there are kind, listen, names,"),
    ],
)
def test_wrong_settings_are_said_in_one_line(tmp_path: Path, settings: str, said: str) -> None:
    file = tmp_path / "line.yaml"
    file.write_text(f"cameras: [{CAMERA}]\nsinks: [{{kind: page, {settings}}}]")
    assert said in refusal(file)


def test_a_page_can_be_had_at_an_address_of_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        with shown(line_of("top"), listen="[::1]:0") as plant:
            assert plant.page.url.startswith("http://[::1]:")
            with Viewer(plant.address) as viewer:
                viewer.until("status")
    except LineError as error:
        pytest.skip(f"this machine has no IPv6: {error}")


def test_a_page_that_all_addresses_have_is_told_by_the_machine_s_name() -> None:
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        port = everywhere.getsockname()[1]
        assert url_of(everywhere) == f"http://{socket.gethostname()}:{port}/"


def test_a_line_may_have_two_pages() -> None:
    line = line_of("top")
    pages = [make_sink(PageSettings(kind="page", listen="127.0.0.1:0"), line) for _ in range(2)]
    for page in pages:
        page.close()
