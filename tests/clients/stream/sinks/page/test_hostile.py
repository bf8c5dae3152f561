"""What others send to the page, and what names may contain: refused, or harmless."""

from __future__ import annotations

import contextlib
import http.client
import logging
import resource
import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from websockets.exceptions import InvalidStatus

from bench.page_feed import Drawn
from tests.clients.stream.sinks.page.plant import PATIENCE, Shown, Viewer, boards, line_of, shown
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.stream.addresses import BACKLOG
from triton_yolo.clients.stream.sinks.page import server
from triton_yolo.clients.stream.sinks.page.guard import HEADERS

expect.set_options(timeout=PATIENCE * 1e3)

HTML = '<img src="x" onerror="document.title=\'hacked\'"><script>document.title="hacked"</script>'
NAMES = ["../../etc/passwd", HTML, "a\u202eb", "__proto__", "constructor", "'; DROP TABLE boards; --"]


@pytest.fixture
def plant() -> Iterator[Shown]:
    """A page with a camera."""
    with shown(line_of("top")) as plant:
        plant.feed.status("top")
        plant.feed.frame("top", board=0)
        plant.feed.line()
        yield plant


def answer(plant: Shown, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer."""
    connection = http.client.HTTPConnection(plant.address, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()


def connections(plant: Shown) -> int:
    """How many connections the page has."""
    return len(plant.page._server._server.server_state.connections)


def test_a_thousand_connections_are_refused_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SILENT_SECONDS", 10 * PATIENCE)  # so that those within the bound stay
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    others: list[socket.socket] = []
    try:
        with shown(line_of("top"), connections=32) as plant, Viewer(plant.address) as before:
            host, port = plant.address.split(":")
            for number in range(1000):
                other = socket.create_connection((host, int(port)), PATIENCE)
                if number < 31:
                    others.append(other)
                    continue
                with other:
                    other.sendall(f"GET / HTTP/1.1\r\nHost: {plant.address}\r\n\r\n".encode())
                    assert other.recv(100).startswith(b"HTTP/1.1 503 ")
                assert connections(plant) <= 32 + server.REFUSED_AT_ONCE
            plant.feed.frame("top", board=1)
            before.until("picture")  # who was there goes on
            for other in others:
                other.close()
            end = time.monotonic() + PATIENCE
            while connections(plant) > 1:
                assert time.monotonic() < end
                time.sleep(0.05)
            assert answer(plant)[0] == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_connections_at_once_take_no_more_descriptors_than_the_bound_and_hold_up_nobody() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        with shown(line_of("top"), connections=32) as plant, Viewer(plant.address) as before:
            host, port = plant.address.split(":")
            others = [socket.socket() for _ in range(1000)]
            for other in others:
                other.setblocking(False)
                other.connect_ex((host, int(port)))
            most = 0
            for _ in range(3):
                before.until("status")
                most = max(most, connections(plant))
            for other in others:
                other.close()
            assert most <= 32 + server.REFUSED_AT_ONCE + BACKLOG
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "])
def test_a_connection_over_which_no_request_comes_is_cut(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SILENT_SECONDS", 0.3)
    with shown(line_of("top")) as plant:
        host, port = plant.address.split(":")
        with socket.create_connection((host, int(port)), PATIENCE) as other, Viewer(plant.address) as viewer:
            other.sendall(sent)
            with contextlib.suppress(ConnectionResetError):
                assert other.recv(1) == b""
            for _ in range(3):
                viewer.until("status")  # a WebSocket may be silent for as long as it likes


def test_a_connection_that_drips_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SILENT_SECONDS", 0.3)
    with shown(line_of("top")) as plant:
        host, port = plant.address.split(":")
        with socket.create_connection((host, int(port)), PATIENCE) as other:
            request = f"GET / HTTP/1.1\r\nHost: {plant.address}\r\n\r\n".encode()
            other.sendall(request)
            assert other.recv(100).startswith(b"HTTP/1.1 200")
            end = time.monotonic() + PATIENCE
            with pytest.raises(OSError):
                while time.monotonic() < end:
                    other.sendall(b"G")
                    time.sleep(0.05)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "a b", "[::1", "@"]
)
def test_a_name_that_is_not_this_machine_s_is_refused(plant: Shown, host: str) -> None:
    status, headers, body = answer(plant, Host=host)
    assert status in (400, 421)
    if status == 421:
        assert b"is not known to this page: add it to its names" in body
        assert headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
    with pytest.raises((InvalidStatus, ValueError, EOFError)) as refused:
        Viewer(plant.address, additional_headers={"Host": host})
    if isinstance(refused.value, InvalidStatus):
        assert refused.value.response.status_code in (400, 421)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8080", "[::1]:8080", "10.0.0.7", "LINE-3.plant.example:80"])
def test_addresses_and_names_that_are_set_are_let_through(host: str) -> None:
    with shown(line_of("top"), names=("line-3.plant.example",)) as plant:
        assert answer(plant, Host=host)[0] == 200
        assert answer(plant, Host=socket.gethostname())[0] == 200


def test_pages_of_other_sites_cannot_read_the_line(plant: Shown) -> None:
    with pytest.raises(InvalidStatus) as refused:
        Viewer(plant.address, origin="http://evil.example")
    assert refused.value.response.status_code == 403
    with Viewer(plant.address, origin=f"http://{plant.address}") as viewer:
        viewer.until("status")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/static/main.js", 200),
        ("/static/page.css", 200),
        ("/static/../app.py", 404),
        ("/static/%2e%2e/app.py", 404),
        ("/static/..%2fapp.py", 404),
        ("/static//etc/passwd", 404),
        ("/static/", 404),
        ("/failures/0/1.jpg", 404),
        ("/failures/0/-1.jpg", 404),
        ("/failures/../1.jpg", 404),
        ("/nothing", 404),
        ("/" + "a" * 10_000, 404),
        ("/live", 404),
    ],
)
def test_every_answer_has_the_headers_that_keep_a_browser_strict(plant: Shown, path: str, status: int) -> None:
    found, headers, _ = answer(plant, path)
    assert found == status
    for name, value in HEADERS.items():
        assert headers[name.lower()] == value
    assert "server" not in headers
    assert headers["cache-control"] == "no-cache"


def test_the_policy_allows_nothing_from_elsewhere_and_nothing_inline() -> None:
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {value for name, value in policy.items() if name.endswith("-src")} == {"'none'", "'self'"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"])
@pytest.mark.parametrize("path", ["/", "/static/main.js", "/failures/0/1.jpg"])
def test_nothing_can_be_changed(plant: Shown, method: str, path: str) -> None:
    assert answer(plant, path, method)[0] == 405


def test_what_clients_do_wrong_is_not_logged(plant: Shown, caplog: pytest.LogCaptureFixture) -> None:
    host, port = plant.address.split(":")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        for nonsense in (b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 100_000):
            with socket.create_connection((host, int(port)), PATIENCE) as other:
                other.sendall(nonsense)
                other.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    while other.recv(1000):
                        pass
        assert answer(plant)[0] == 200
    assert not caplog.records


def test_html_in_names_is_text(tab: Page) -> None:
    drawn = boards()[0]
    found = drawn.detections
    hostile = Detections(found.boxes, found.scores, found.classes, (HTML, "</script><b>bold</b>")[: len(found)])
    with shown(line_of("top")) as plant:
        plant.feed.boards = [Drawn(drawn.image, hostile)]
        for name in NAMES:
            plant.feed.status(name)
            plant.feed.frame(name, board=0)
        plant.feed.status(HTML, "failed", HTML)
        plant.feed.line(HTML, [{"kind": HTML, "missed": 1, HTML: HTML, "list": [HTML]}])
        tab.goto(plant.page.url)
        expect(tab.locator(".tile")).to_have_count(1 + len(NAMES))
        expect(tab.locator(".failure")).to_have_count(len(NAMES))
        expect(tab.locator(".tile .name")).to_contain_text(["top", *NAMES])
        expect(tab.locator("#defects")).to_contain_text(HTML)
        expect(tab.locator("#system")).to_contain_text(HTML)
        for button in tab.locator(".failure").all():
            button.click()
            expect(tab.locator("dialog .list")).to_contain_text(HTML)
            tab.keyboard.press("Escape")
        assert tab.title() == "line-3"
        assert tab.locator("script").count() == 1
        assert tab.locator("b").count() == 0
        assert all(
            address.startswith("failures/")
            for address in tab.evaluate("() => [...document.images].map((image) => image.getAttribute('src'))")
        )


def test_cameras_without_end_are_shown_up_to_a_bound(plant: Shown) -> None:
    for number in range(200):
        plant.feed.status(f"camera-{number}")
    with Viewer(plant.address) as viewer:
        message = viewer.until("status", lambda message: len(message["cameras"]) > 1)
        assert len(message["cameras"]) == 64
        assert "camera-199" not in [camera["name"] for camera in message["cameras"]]
        plant.feed.status("camera-5", "ended")  # one that was removed makes room
        plant.feed.status("camera-199")
        viewer.camera("camera-199", lambda camera: True)


def test_boxes_that_are_no_numbers_reach_the_browser_as_numbers(plant: Shown) -> None:
    drawn = boards()[0]
    boxes = np.full_like(drawn.detections.boxes, np.nan)
    found = drawn.detections
    plant.feed.boards = [Drawn(drawn.image, Detections(boxes, found.scores, found.classes, found.names))]
    plant.feed.frame("side", board=0)
    with Viewer(plant.address) as viewer:
        message = viewer.until("picture", lambda message: message["camera"] == "side")
        assert message["boxes"][0]["box"] == [0, 0, 0, 0]
