"""The command that shows a log in a browser, and what it answers to others."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.clients.commands import run
from tests.clients.stream.sinks.log.page.conftest import serving
from tests.clients.stream.sinks.page.plant import PATIENCE
from tests.conftest import ROOT
from triton_yolo.clients.commands.log import main
from triton_yolo.clients.stream.sinks.page.guard import HEADERS


def answer(url: str, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    found = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return found


def content(url: str, path: str) -> Any:
    """Return the JSON of an address."""
    status, _, body = answer(url, path)
    assert status == 200, body
    return json.loads(body)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_where_the_page_is_and_asks_there_what_it_was_asked(
    written: tuple[Path, Path], number: signal.Signals
) -> None:
    options = ("--on", "2026-11-24", "--verdict", "fail", "--camera", "top", "--class", "a&b")
    command = [sys.executable, "-m", "triton_yolo", "log", str(written[0]), "--page", "127.0.0.1:0", *options]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = process.stderr.readline()
        assert said.startswith("triton-yolo log: the page is at http://127.0.0.1:")
        url = said.split()[-1]
        asked = parse_qs(urlsplit(url).query)
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            assert b"Log" in response.read()
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""
    assert asked == {
        "since": ["2026-11-24T00:00:00"],
        "until": ["2026-11-25T00:00:00"],
        "camera": ["top"],
        "verdict": ["fail"],
        "class": ["a&b"],
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--page", "nowhere"], "--page 'nowhere' is no HOST:PORT"),
        (["--page", "127.0.0.1:0", "--csv"], "--csv, --json and --page exclude each other"),
        (["--page", "127.0.0.1:0", "--frames"], "leave --frames out"),
        (["--page", "127.0.0.1:0", "--records", "/nowhere"], "--records /nowhere: there is no such folder"),
        (["--records", "."], "--records and --page-name are of --page"),
        (["--page", "192.0.2.1:80"], "--page cannot listen on 192.0.2.1:80"),
    ],
)
def test_what_cannot_be_meant_is_refused(written: tuple[Path, Path], options: list[str], words: str) -> None:
    result = run(main, written[0], *options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_all_answers_have_the_headers_of_the_line_s_page(url: str) -> None:
    for path in ("/", "/boards", "/boards/1", "/static/main.js", "/shared/dom.js", "/frames/1/plain.jpg", "/nothing"):
        found = {key.lower(): value for key, value in answer(url, path)[1].items()}
        assert {key: found.get(key.lower()) for key in HEADERS} == HEADERS, path


def test_pages_of_other_names_are_refused(url: str) -> None:
    status, _, body = answer(url, "/boards", Host="evil.example")
    assert status == 421
    assert b"name it with --page-name" in body


def test_nothing_can_be_written(url: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert answer(url, "/boards", method)[0] == 405


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/boards?since=tomorrow", 400),
        ("/boards?verdict=good", 400),
        ("/boards?below=1", 400),
        (f"/boards?{'camera=a&' * 65}", 400),
        (f"/boards?below={'9' * 30}.1", 404),
        ("/boards/99", 404),
        (f"/boards/{'9' * 30}", 404),
        ("/frames/99/plain.jpg", 404),
        ("/frames/99/film.mp4", 404),
        ("/frames/99/small.jpg", 404),
        ("/frames/1/../../etc/passwd", 404),
        ("/static/../app.py", 404),
        ("/static/%2e%2e/app.py", 404),
    ],
)
def test_what_is_not_there_or_means_nothing_is_refused_in_one_line(url: str, path: str, status: int) -> None:
    found, _, body = answer(url, path)
    assert found == status, body
    assert b"Traceback" not in body
    assert body.count(b"\n") <= 1


def test_names_in_a_question_are_values_and_no_sql(url: str) -> None:
    assert content(url, "/boards?camera=%27%3B+DROP+TABLE+boards%3B--")["boards"] == []
    assert len(content(url, "/boards")["boards"]) == 12


def test_a_film_can_be_sought_in(url: str) -> None:
    board = content(url, "/boards?verdict=fail")["boards"][0]
    film = content(url, f"/boards/{board['id']}")["film"]
    status, headers, body = answer(url, f"/frames/{film}/film.mp4", Range="bytes=4-7")
    assert (status, body) == (206, b"ftyp")
    assert {key.lower(): value for key, value in headers.items()}["content-type"] == "video/mp4"


def test_a_log_that_is_gone_is_said(tmp_path: Path, written: tuple[Path, Path]) -> None:
    copy = tmp_path / "log.db"
    copy.write_bytes(written[0].read_bytes())
    with serving(copy) as url:
        assert len(content(url, "/boards")["boards"]) == 12
        copy.unlink()
        status, _, body = answer(url, "/boards")
        assert (status, body) == (503, f"{copy}: there is no such file\n".encode())
