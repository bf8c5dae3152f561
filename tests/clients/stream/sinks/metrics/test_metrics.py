"""What Prometheus gets of a line, over HTTP, and what others who ask there can do."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.clients.stream.sinks.results import inspected, lost
from tests.conftest import ROOT
from tests.deploy.conftest import tool
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.events import CameraStatus, LineStatus
from triton_yolo.clients.stream.line import Line, checked
from triton_yolo.clients.stream.sinks.metrics.server import CONNECTIONS
from triton_yolo.clients.stream.sinks.metrics.settings import MetricsSettings
from triton_yolo.clients.stream.sinks.metrics.sink import CAMERAS, CLASSES, OTHER, Metrics
from triton_yolo.clients.stream.verdict import BoardVerdict, Verdict
from triton_yolo.server.process import free_addresses

PATIENCE = 60.0
LINE: Line = checked({"name": "line-3", "cameras": [{"name": "top", "uri": "synthetic:photo"}]}, "")


@contextlib.contextmanager
def serving() -> Iterator[tuple[Metrics, str]]:
    port = free_addresses().grpc
    sink = Metrics(MetricsSettings(kind="metrics", port=port), LINE)
    try:
        yield sink, f"http://127.0.0.1:{port}"
    finally:
        sink.close()


def text(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def samples(url: str) -> dict[tuple[str, ...], float]:
    """Name and values of labels of each sample, in the order of the labels' names, without the line's name."""
    found = {}
    for family in text_string_to_metric_families(text(url)):
        for sample in family.samples:
            assert sample.labels.pop("line") == "line-3"
            found[(sample.name.removeprefix("triton_yolo_"), *sample.labels.values())] = sample.value
    return found


def settled(sink: Metrics, url: str) -> dict[tuple[str, ...], float]:
    end = time.monotonic() + PATIENCE
    before = samples(url)
    while sink.queued or before != (now := samples(url)):
        before = now if not sink.queued else before
        assert time.monotonic() < end
    return now


def row(name: str, **more: Any) -> dict[str, Any]:
    counts = {"captured": 10, "answered": 7, "dropped": {"late": 2}, "in_flight": 1, "restarts": 3, "state": "running"}
    return {"name": name, **counts, **more}


def status(*rows: dict[str, Any], away: str = "", sinks: tuple[dict[str, Any], ...] = ()) -> LineStatus:
    return LineStatus(away, {"cameras": list(rows), "total": {}, "sinks": list(sinks)})


def test_frames_drops_states_and_sinks_are_those_of_the_report() -> None:
    mqtt = {"kind": "mqtt", "missed": 4, "queued": 5, "away": "no connection", "waiting": 6, "dropped": 7}
    with serving() as (sink, url):
        sink.put(
            status(
                row("top"), row("side", state="waiting"), away="no answer", sinks=(mqtt, {"kind": "json", "missed": 0})
            )
        )
        found = settled(sink, url)
    assert found["frames_captured_total", "top"] == 10
    assert found["frames_answered_total", "top"] == 7
    assert found["frames_dropped_total", "top", "late"] == 2
    assert found["frames_in_flight", "top"] == 1
    assert found["camera_restarts_total", "top"] == 3
    assert found["camera_state", "side", "waiting"] == 1
    assert found["camera_state", "side", "running"] == 0
    assert (found["server_away",], found["ring_slots",], found["line_deadline_seconds",]) == (1, 8, 0.5)
    assert (found["sink_queued", "mqtt"], found["sink_missed_total", "mqtt"], found["sink_away", "mqtt"]) == (5, 4, 1)
    assert (found["sink_waiting", "mqtt"], found["sink_dropped_total", "mqtt"]) == (6, 7)
    assert ("sink_away", "json") not in found


def test_changes_are_counted_by_how_they_were_sent() -> None:
    sent = {"frames": {"nothing": 8, "coded tiles": 2}, "bytes": 12_345, "raw_bytes": 67_890, "coded_frame_bytes": 1234}
    with serving() as (sink, url):
        sink.put(status(row("top", sent=sent), row("side"), row("raw", sent=sent | {"coded_frame_bytes": None})))
        found = settled(sink, url)
    assert found["changes_frames_total", "top", "nothing"] == 8
    assert found["changes_frames_total", "top", "coded tiles"] == 2
    assert found["changes_bytes_total", "top"] == 12_345
    assert found["changes_raw_bytes_total", "top"] == 67_890
    assert found["changes_coded_frame_bytes", "top"] == 1234
    assert ("changes_coded_frame_bytes", "raw") not in found
    assert ("changes_bytes_total", "side") not in found


def test_verdicts_defects_and_latencies_are_counted() -> None:
    with serving() as (sink, url):
        sink.put(inspected("top", 0))
        sink.put(inspected("top", 1, (1, 0.9), (1, 0.8), (0, 0.7)))
        sink.put(lost("top", 2))
        sink.put(BoardVerdict("top", 1, Verdict.FAIL))
        found = settled(sink, url)
    assert found["verdicts_total", "top", "frame", "pass"] == 1
    assert found["verdicts_total", "top", "frame", "fail"] == 1
    assert found["verdicts_total", "top", "frame", "not inspected"] == 1
    assert found["verdicts_total", "top", "board", "fail"] == 1
    assert found["defects_total", "short"] == 2
    assert found["latency_seconds_count", "top", "total"] == 2
    assert found["latency_seconds_bucket", "top", "0.01", "total"] == 0
    assert found["latency_seconds_bucket", "top", "0.02", "total"] == 2  # it took 12.5 ms


def test_a_change_of_a_camera_shows_before_the_next_report() -> None:
    with serving() as (sink, url):
        sink.put(status(row("top")))
        sink.put(CameraStatus("top", "waiting", "it was unplugged"))
        found = settled(sink, url)
    assert found["camera_state", "top", "waiting"] == 1


def test_labels_are_bounded_and_what_is_too_much_is_counted_together() -> None:
    with serving() as (sink, url):
        many = [f"camera-{number}" for number in range(CAMERAS + 20)]
        for name in many:
            sink.put(inspected(name, 0))
        sink.put(status(*map(row, many)))
        found = settled(sink, url)
    cameras = {key[1] for key in found if key[0] == "frames_captured_total"}
    assert len(cameras) == CAMERAS + 1
    assert found["frames_captured_total", OTHER] == 20 * 10
    assert found["verdicts_total", OTHER, "frame", "pass"] == 20
    assert not any(key[1:2] == (OTHER,) for key in found if key[0] == "camera_state")
    assert CLASSES <= 100


def test_promtool_finds_nothing_to_complain_of() -> None:
    with serving() as (sink, url):
        sink.put(status(row("top"), sinks=({"kind": "mqtt", "missed": 0, "away": "", "waiting": 0, "dropped": 0},)))
        sink.put(inspected("top", 0, (0, 0.5)))
        settled(sink, url)
        page = text(url)
    promtool = tool("promtool", "the package prometheus of Debian and Ubuntu")
    result = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_strange_names_are_escaped() -> None:
    with serving() as (sink, url):
        sink.put(inspected('<b>"top"\n\\', 0))
        found = settled(sink, url)
    assert found["verdicts_total", '<b>"top"\n\\', "frame", "pass"] == 1


def test_the_page_of_the_documentation_lists_what_is_shown_and_no_more() -> None:
    named = set(re.findall(r"`(triton_yolo_\w+)`", (ROOT / "docs" / "metrics.md").read_text()))
    with serving() as (sink, url):
        sink.put(status(row("top"), sinks=({"kind": "mqtt", "missed": 0, "away": "", "waiting": 0, "dropped": 0},)))
        sink.put(inspected("top", 0, (0, 0.5)))
        settled(sink, url)
        shown = set(re.findall(r"^# TYPE (triton_yolo_\w+)", text(url), re.MULTILINE))
    assert named == {name for name in shown if not name.endswith("_created")}


def test_there_is_nothing_else_and_nothing_can_be_written() -> None:
    with serving() as (_, url):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{url}/../../etc/passwd")
        with pytest.raises(urllib.error.HTTPError, match="501"):
            urllib.request.urlopen(urllib.request.Request(f"{url}/metrics", data=b"x", method="POST"))


def test_more_connections_than_there_may_be_are_closed_and_places_become_free() -> None:
    with serving() as (_, url):
        port = int(url.rpartition(":")[2])
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
        for one in slow:
            one.sendall(b"GET /metrics HTTP/1.1\r\n")
        end = time.monotonic() + PATIENCE
        with pytest.raises((OSError, http.client.HTTPException)):
            while True:  # the places are taken one by one
                text(url)
                assert time.monotonic() < end
        for one in slow:
            one.close()
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                assert "ring_slots" in text(url)
                break
            assert time.monotonic() < end


def test_a_port_that_is_taken_is_said() -> None:
    with serving() as (_, url), pytest.raises(LineError, match=r"sinks: metrics: 127\.0\.0\.1:\d+: .*in use"):
        Metrics(MetricsSettings(kind="metrics", port=int(url.rpartition(":")[2])), LINE)
