"""API keys and their rates, in a real Envoy: who gets an answer, how often, and what others are told."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.fleet.conftest import fleet_of
from tests.server.fleet.load import IMAGES
from tests.server.fleet.papers import EITHER, Papers, answers, ask, urls
from tests.server.test_lifecycle import wait_for
from triton_yolo.clients import Access, Detector, ServerBusy, ServerUnavailable
from triton_yolo.contract import OVER_RATE, WANTS_KEY
from triton_yolo.server.fleet.access import AccessFiles
from triton_yolo.server.fleet.envoy_access import CLIENT
from triton_yolo.server.fleet.fleet import Fleet

Asking = Callable[[str, Access], int]

LINE, SLOW, LATER = "line aaaaaaaaaaaaaaaaaaaaaaaa", "slow bbbbbbbbbbbbbbbbbbbbbbbb 2", "later cccccccccccccccccccccccc"
STRANGER = "line dddddddddddddddddddddddd"


@pytest.fixture(scope="module")
def fleet(papers: Papers, cells_repository: Path) -> Iterator[Fleet]:
    keys = papers.file("keys", "# a comment", LINE, "", SLOW)
    files = AccessFiles(papers.server.certificate, papers.server.key, api_keys=keys)
    with fleet_of(cells_repository, 1, files) as running:
        yield running


def access(papers: Papers, line: str) -> Access:
    return Access(papers.plant.certificate, api_key=papers.file("key", line))


@EITHER
def test_a_key_that_is_known_is_answered(fleet: Fleet, papers: Papers, asking: Asking) -> None:
    assert len({asking(url, access(papers, LINE)) for url in urls(fleet)}) == 1


@EITHER
@pytest.mark.parametrize("line", [None, STRANGER, STRANGER.replace("line", "nobody"), LINE.replace("line", "slow")])
def test_others_are_refused_with_words(fleet: Fleet, papers: Papers, asking: Asking, line: str | None) -> None:
    own = access(papers, line) if line else Access(papers.plant.certificate)
    for url in urls(fleet):
        with pytest.raises(ServerUnavailable, match=WANTS_KEY):
            asking(url, own)


def test_a_client_is_let_in_no_more_often_than_it_may(fleet: Fleet, papers: Papers) -> None:
    for url in urls(fleet):
        with Detector(url, access=access(papers, SLOW)) as slow:
            ends = list(slow.detect_many([IMAGES[0]] * 40, errors="return", concurrency=8))
        busy = [end for end in ends if isinstance(end, ServerBusy)]
        assert busy
        assert all(OVER_RATE in str(end) for end in busy)
        assert len(ask_many(url, access(papers, LINE), 20)) == 20  # the others may go on


def test_http_answers_in_codes_that_any_client_knows(fleet: Fleet, papers: Papers) -> None:
    own = access(papers, SLOW)
    shown = own.headers() | {CLIENT: "somebody-else"}  # which is Envoy's to say
    seen = [status(fleet, headers, own) for headers in ({}, *([shown] * 20))]
    assert seen[0] == (401, {"error": WANTS_KEY})
    assert (429, {"error": OVER_RATE}) in seen
    assert {code for code, _ in seen[1:]} <= {200, 429}


def test_keys_are_nowhere_that_envoy_shows_or_keeps(fleet: Fleet) -> None:
    shown = fleet.envoy.ask("/config_dump?include_eds") + fleet.envoy.ask("/stats")
    kept = b"".join(path.read_bytes() for path in fleet.folder.glob("*.json"))
    assert b"basic_auth" in shown
    assert b"{SHA}" in kept
    for line in (LINE, SLOW):
        assert line.split()[1].encode() not in shown + kept


def test_servers_do_not_see_keys(fleet: Fleet) -> None:
    config = json.loads((fleet.folder / "envoy.json").read_text())
    for listener in config["static_resources"]["listeners"]:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        assert manager["route_config"]["virtual_hosts"][0]["request_headers_to_remove"] == ["authorization"]


@pytest.mark.slow
def test_keys_and_certificates_that_change_are_read_again(fleet: Fleet, papers: Papers) -> None:
    [url, _] = urls(fleet)
    later = access(papers, LATER)
    papers.file("keys", "line short")
    fleet.watch()  # the old ones hold
    with pytest.raises(ServerUnavailable, match=WANTS_KEY):
        ask(url, later)
    papers.file("keys", LINE, SLOW, LATER)
    fleet.watch()
    wait_for(lambda: answers(url, later), "the new key is not known")
    papers.file("keys", LINE, SLOW)
    fleet.watch()
    wait_for(lambda: not answers(url, later), "the old key is known still")
    renewed = papers.other.vouch("localhost")
    papers.server.certificate.write_bytes(renewed.certificate.read_bytes())
    papers.server.key.write_bytes(renewed.key.read_bytes())
    fleet.watch()
    line = Access(papers.other.certificate, api_key=papers.file("key", LINE))
    wait_for(lambda: answers(url, line), "the new certificate is not shown")


@pytest.mark.slow
def test_the_commands_show_what_their_options_say(fleet: Fleet, papers: Papers, tmp_path: Path) -> None:
    ca = papers.folder / "both.crt"
    ca.write_bytes(papers.plant.certificate.read_bytes() + papers.other.certificate.read_bytes())
    (tmp_path / "a.jpg").write_bytes(IMAGES[0])
    key = papers.file("key", LINE)
    command = [sys.executable, "-m", "triton_yolo", "detect", "a.jpg", "--json", "--tls-ca", ca, "--api-key", key]
    for url in urls(fleet):
        done = subprocess.run([*command, "--url", url], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert "detections" in json.loads(done.stdout)


def ask_many(url: str, access: Access, count: int) -> list[int]:
    with Detector(url, access=access) as detector:
        return [len(found) for found in detector.detect_many([IMAGES[0]] * count)]


def status(fleet: Fleet, headers: dict[str, str], access: Access) -> tuple[int, object]:
    connection = http.client.HTTPSConnection("localhost", fleet.addresses.http, timeout=60, context=access.context())
    connection.request("GET", "/v2/health/ready", headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if content else None


@pytest.mark.slow
def test_a_line_shows_what_its_file_says(fleet: Fleet, papers: Papers, tmp_path: Path) -> None:
    key = papers.file("key", LINE)
    trusted = papers.folder / "both.crt"
    trusted.write_bytes(papers.plant.certificate.read_bytes() + papers.other.certificate.read_bytes())
    content = {
        "url": urls(fleet)[0],
        "access": {"ca": str(trusted), "api_key": str(key)},
        "memory": "plain",
        "deadline_ms": 40_000,
        "cameras": [{"name": "a", "uri": "synthetic:photo", "options": {"size": "96x128", "frames": 3}}],
    }
    command = [sys.executable, "-m", "triton_yolo", "stream", "line.yaml", "--json", "--seconds", "1"]
    for known in (True, False):
        (tmp_path / "line.yaml").write_text(json.dumps(content))  # which is YAML too
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert (done.returncode, WANTS_KEY in done.stderr) == ((0, False) if known else (2, True)), done.stderr
        assert bool(done.stdout) == known
        papers.file("key", STRANGER)
