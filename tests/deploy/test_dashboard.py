"""Prometheus asks a real server with the project's own configuration, and every query of the dashboard has data."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc
import yaml
from tritonclient.utils import InferenceServerException

from tests.clients.stream.sinks.results import inspected
from tests.conftest import ROOT
from tests.deploy.conftest import MeasuredServer, tool
from tests.deploy.sending import at_once, encoded, frames, image
from triton_yolo.clients.stream.events import LineStatus
from triton_yolo.clients.stream.line import checked
from triton_yolo.clients.stream.sinks.metrics.settings import MetricsSettings
from triton_yolo.clients.stream.sinks.metrics.sink import Metrics
from triton_yolo.clients.stream.verdict import BoardVerdict, Verdict
from triton_yolo.server.process import free_addresses

DEPLOY = ROOT / "deploy"
CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "triton-yolo.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
NEEDS_GPU = re.compile(r"\bnv_(gpu|energy)_")  # the rest has data without one
SCRAPES = 'count_over_time(up{job="triton"}[1h])'
LINE_TARGET = """\
dns_sd_configs:
      - names: [line]
        type: A
        port: 9464
        refresh_interval: 5s"""
PACKAGE = "apt-get install prometheus"


def test_the_configuration_is_one_of_prometheus() -> None:
    subprocess.run([tool("promtool", PACKAGE), "check", "config", CONFIG], check=True, capture_output=True)


def test_each_alert_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    cases = (ROOT / "tests" / "deploy" / "alerts.yml").read_text()
    (tmp_path / "alerts.yml").write_text(cases.replace("RULES", str(ALERTS)))
    promtool = tool("promtool", PACKAGE)
    result = subprocess.run(
        [promtool, "test", "rules", tmp_path / "alerts.yml"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    for rule in group["rules"]:  # each has a case in which it fires, and one in which it does not
        tests = [test for case in yaml.safe_load(cases)["tests"] for test in case["alert_rule_test"]]
        fires = [bool(test.get("exp_alerts")) for test in tests if test["alertname"] == rule["alert"]]
        assert {True, False} <= set(fires), rule["alert"]


def test_alerts_name_metrics_that_a_line_has(line: Line) -> None:
    expressions = [rule["expr"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    named = {name for expression in expressions for name in re.findall(r"triton_yolo_\w+", expression)}
    page = line.page().decode()
    assert not {name for name in named if not re.search(rf"^{name}\{{", page, re.MULTILINE)}


def test_the_data_source_is_the_one_that_the_dashboard_names() -> None:
    [source] = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    named = {use["datasource"]["uid"] for panel in PANELS for use in (panel, *panel["targets"])}
    assert named == {source["uid"]}
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose
    [provider] = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/triton-yolo.yml").read_text())["providers"]
    folders = {mount.split(":")[1] for mount in compose["grafana"]["volumes"]}
    assert provider["options"]["path"] in folders


def test_panels_have_numbers_of_their_own_and_do_not_cover_each_other() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert {x for x, _ in cells} == set(range(24))


@pytest.mark.parametrize(
    "metric",
    [
        "nv_inference_request_success",
        "nv_inference_request_failure",
        "nv_inference_queue_duration_us",
        "nv_inference_compute_input_duration_us",
        "nv_inference_compute_infer_duration_us",
        "nv_inference_compute_output_duration_us",
        "nv_inference_exec_count",
        "nv_inference_pending_request_count",
        "nv_inference_request_summary_us",
        "nv_inference_queue_summary_us",
        "nv_inference_compute_infer_summary_us",
        "nv_gpu_utilization",
        "nv_gpu_memory_used_bytes",
        "nv_pinned_memory_pool_used_bytes",
        "triton_yolo_verdicts_total",
        "triton_yolo_frames_captured_total",
        "triton_yolo_frames_dropped_total",
        "triton_yolo_latency_seconds_bucket",
        "triton_yolo_frames_in_flight",
        "triton_yolo_camera_state",
        "triton_yolo_server_away",
        "triton_yolo_sink_queued",
        "triton_yolo_sink_missed_total",
        "triton_yolo_sink_away",
    ],
)
def test_the_dashboard_shows(metric: str) -> None:
    assert any(re.search(rf"\b{metric}\b", query) for _, query in QUERIES)


class Prometheus:
    """A running one."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}") as got:
            answer = json.load(got)
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def wait_for(self, expression: str) -> None:
        end = time.monotonic() + 30
        while not self._has(expression):
            assert time.monotonic() < end, f"Prometheus has no {expression}"
            time.sleep(0.2)

    def scrapes(self) -> int:
        """How often it has asked the server."""
        [series] = self.query(SCRAPES)
        return int(series["value"][1])

    def _has(self, expression: str) -> bool:
        try:
            return bool(self.query(expression))
        except OSError:  # it is starting
            return False


class Line:
    """What a line of cameras shows, with frames that go on while the tests run; a context manager."""

    def __init__(self) -> None:
        self.port = free_addresses().grpc
        line = checked({"name": "line", "cameras": [{"name": "top", "uri": "synthetic:photo"}]}, "")
        self._sink = Metrics(MetricsSettings(kind="metrics", port=self.port), line)
        self._end, self._thread = threading.Event(), threading.Thread(target=self._run)

    def __enter__(self) -> Line:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._sink.close()

    def page(self) -> bytes:
        """What it shows now."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            return bytes(answer.read())

    def _run(self) -> None:
        number = 0
        while not self._end.wait(0.1):
            self._sink.put(inspected("top", number, *[(0, 0.9)] * (number % 2)))
            self._sink.put(BoardVerdict("top", number + 1, Verdict.PASS))
            counts = {"captured": number + 1, "answered": number, "dropped": {"late": 1}, "in_flight": 1, "restarts": 0}
            camera = {"name": "top", "state": "running", **counts}
            sink = {"kind": "mqtt", "missed": 0, "queued": 0, "away": "", "waiting": 0, "dropped": 0}
            self._sink.put(LineStatus("", {"cameras": [camera], "total": {}, "sinks": [sink]}))
            number += 1


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    """The metrics of a line, for the whole module."""
    with Line() as running:
        end = time.monotonic() + 30
        while b"triton_yolo_sink_away" not in running.page():
            assert time.monotonic() < end
        yield running


@pytest.fixture(scope="module")
def prometheus(measured: MeasuredServer, line: Line, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus with the project's configuration, beside a server that has had all kinds of requests."""
    program = tool("prometheus", PACKAGE)
    folder = tmp_path_factory.mktemp("prometheus")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = CONFIG.read_text()
    for old, new in [
        ("triton:8002", f"127.0.0.1:{measured.addresses.metrics}"),
        ("localhost:9090", f"127.0.0.1:{port}"),
        (LINE_TARGET, f"static_configs:\n      - targets: ['127.0.0.1:{line.port}']"),
        ("scrape_interval: 5s\n  scrape_timeout: 4s", "scrape_interval: 1s\n  scrape_timeout: 1s"),
    ]:
        assert old in config
        config = config.replace(old, new)
    (folder / "prometheus.yml").write_text(config)
    shutil.copy(ALERTS, folder)
    command = [
        program,
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            running = Prometheus(port)
            running.wait_for('up{job="triton"} == 1')
            send_all_kinds(measured.addresses.grpc)
            running.wait_for('count_over_time(up{job="line"}[1h]) > 2')
            running.wait_for(f"{SCRAPES} > {running.scrapes() + 1}")  # one of them begins after the last request
            yield running
        finally:
            process.terminate()


def send_all_kinds(port: int) -> None:
    """More at once than the queue takes, more than is done in time, images, frames, and what is none."""
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        at_once(port, 100)
        at_once(port, 16 * len(os.sched_getaffinity(0)), timeout=1000)
        client.infer("detect", [image()])
        client.infer("detect_frames", [frames(8)])
        with pytest.raises(InferenceServerException):
            client.infer("detect", [encoded(b"no image")])


def executable(expression: str) -> str:
    """A query as Grafana sends it."""
    return expression.replace("$__rate_interval", "1m")


@pytest.mark.slow
@pytest.mark.parametrize(("title", "expression"), [entry for entry in QUERIES if not NEEDS_GPU.search(entry[1])])
def test_every_query_that_needs_no_gpu_returns_data(prometheus: Prometheus, title: str, expression: str) -> None:
    found = prometheus.query(executable(expression))
    assert found, f"{title}: {expression} has no data"
    values = [float(series["value"][1]) for series in found]
    assert all(math.isfinite(value) and value >= 0 for value in values), values


@pytest.mark.slow
@pytest.mark.parametrize(("title", "expression"), [entry for entry in QUERIES if NEEDS_GPU.search(entry[1])])
def test_every_query_that_needs_a_gpu_is_at_least_one_that_prometheus_understands(
    prometheus: Prometheus, title: str, expression: str
) -> None:
    prometheus.query(executable(expression))


def test_stages_and_reasons_are_told_apart(prometheus: Prometheus) -> None:
    by_title = {panel["title"]: panel["targets"][0]["expr"] for panel in PANELS}
    for title in ("Queue time", "Compute: inference", "Batch size"):
        models = {series["metric"]["model"] for series in prometheus.query(executable(by_title[title]))}
        assert models == {"nms", "preprocess", "preprocess_frames", "yolo"}, title
    failed = prometheus.query(executable(by_title["Failures a second, by reason"]))
    nonzero = {(s["metric"]["model"], s["metric"]["reason"]) for s in failed if float(s["value"][1]) > 0}
    assert ("detect", "OTHER") in nonzero
    assert nonzero & {("preprocess", "REJECTED"), ("yolo", "REJECTED")}
