"""The comparison with other servers: what is refused, the load, the tables, and LitServe for real where it is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bench.__main__ import draw_images
from bench.errors import BenchError
from bench.peers import load as load_module
from bench.peers import peers as peers_module
from bench.peers.agreement import OTHER_ENGINE_INT8, SAME_ENGINE, agreed, from_answer, tolerance_of
from bench.peers.load import Job, loaded, run
from bench.peers.measuring import COMPARED, OURS, Contender, Round, _network, summary
from bench.peers.peers import PYTHON, all_peers, installed, request_of
from bench.peers.plan import VARIABLE, Network, Plan, Setting
from bench.peers.programs import Program
from bench.peers.table import tables
from tests.conftest import REPOSITORY, ROOT
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.detector import Detector
from triton_yolo.nms.letterbox import Letterbox
from triton_yolo.nms.thresholds import Thresholds
from triton_yolo.server.process import TritonServer

RESULTS = ROOT / "bench" / "results" / "peers-cpu.json"
COMMAND = [sys.executable, "-m", "bench.peers"]
THRESHOLD = 0.25
NETWORK = Network("model.onnx", Letterbox(640, 640), Thresholds(0.25, 0.45), 100)


def found(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    """Detections of x1, y1, x2, y2, score, class."""
    return from_answer(
        {"boxes": [row[:4] for row in rows], "scores": [row[4] for row in rows], "classes": [row[5] for row in rows]}
    )


ONE = (10.0, 20.0, 30.0, 40.0, 0.9, 1)
OTHER = (50.0, 20.0, 70.0, 40.0, 0.8, 2)


def test_answers_within_the_tolerances_agree_in_any_order() -> None:
    near = (10.5, 20, 30, 39.25, 0.89, 1)
    seen = agreed("peer", [found(ONE, OTHER)], [found(OTHER, near)], THRESHOLD, SAME_ENGINE)
    assert (seen.detections, seen.boxes_px, seen.scores) == (2, 0.75, 0.01)


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        pytest.param([ONE], r"image 0 a box is missing, class 2, score 0\.800, \[50\.0", id="one is missing"),
        pytest.param([ONE, OTHER, OTHER], "a box is extra, class 2", id="one is there twice"),
        pytest.param([ONE, (51.5, *OTHER[1:])], "a box is missing, class 2", id="a coordinate is 1.5 px away"),
        pytest.param([ONE, (*OTHER[:4], 0.77, 2)], "a box is missing, class 2", id="the score is 0.03 lower"),
        pytest.param([ONE, (*OTHER[:5], 3)], "a box is missing, class 2", id="another class"),
        pytest.param([], "a box is missing, class 1", id="nothing"),
    ],
)
def test_other_detections_are_refused_with_what_differs(theirs: list[Any], said: str) -> None:
    with pytest.raises(BenchError, match=f"peer does not detect what this server does.*{said}"):
        agreed("peer", [found(ONE, OTHER)], [found(*theirs)], THRESHOLD, SAME_ENGINE)


def test_a_box_just_above_the_threshold_may_be_missing_on_either_side() -> None:
    edge = (*OTHER[:4], 0.26, 2)
    assert (
        agreed(
            "peer", [found(ONE, edge), found(ONE)], [found(ONE), found(ONE, edge)], THRESHOLD, SAME_ENGINE
        ).detections
        == 2
    )


def test_only_another_engine_in_int8_may_be_further_away() -> None:
    assert tolerance_of("openvino", "int8") == tolerance_of("onnxruntime", "float32") == SAME_ENGINE
    assert tolerance_of("onnxruntime", "int8") == OTHER_ENGINE_INT8
    further = (12.0, *ONE[1:])
    assert agreed("peer", [found(ONE)], [found(further)], THRESHOLD, OTHER_ENGINE_INT8).boxes_px == 2


def test_an_image_without_an_answer_is_refused() -> None:
    with pytest.raises(BenchError, match="peer answered 1 of 2 images"):
        agreed("peer", [found(), found()], [found()], THRESHOLD, SAME_ENGINE)


class Answering(BaseHTTPRequestHandler):
    """Answers a POST with the length of its body; a body of "no" with status 500."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for an answer
    seen: list[tuple[str, bytes, str]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).seen.append((self.path, body, self.headers["X-Number"]))
        sum(range(100_000))  # takes processor time
        content = json.dumps(len(body)).encode()
        self.send_response(500 if body == b"no" else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    Answering.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def job(address: str, folder: Path, *bodies: bytes) -> Job:
    """A load of these bodies, whose server is the test's process."""
    files = [str(folder / str(number)) for number in range(len(bodies))]
    for file, body in zip(files, bodies, strict=True):
        Path(file).write_bytes(body)
    headers = [{"X-Number": str(number)} for number in range(len(bodies))]
    return Job("http", address, files, os.getpid(), (1, 3), 0.3, "/predict", headers)


def test_the_load_sends_every_file_in_turn_and_says_what_it_saw(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_module, "STARTING", 0.1)
    seen = run(job(address, tmp_path, b"one", b"three"))
    assert list(seen) == [1, 3]
    for figures in seen.values():
        assert figures["images_per_second"] > 10
        assert 0 < figures["p50_ms"] <= figures["p99_ms"]
        assert figures["server_cpu_ms_per_image"] > 0
        assert 0 <= figures["idle_share"] <= 1
        assert figures["resident_bytes"] > 1e6
    assert set(Answering.seen) == {("/predict", b"one", "0"), ("/predict", b"three", "1")}


def test_the_load_is_a_process_of_its_own(address: str, tmp_path: Path) -> None:
    seen = loaded(replace(job(address, tmp_path, b"one"), levels=[2]))
    assert seen[2]["images_per_second"] > 10


def test_a_request_that_fails_ends_the_load_with_what_the_server_said(address: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"the load of 127\.0\.0\.1:\d+ failed: .*status 500: b'2'"):
        loaded(job(address, tmp_path, b"no"))


def test_a_plan_reaches_the_server_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting("openvino", 2, 1, 1, 4, {"fast_queue": True}, {"NAME": "1"})
    plan = Plan(1234, replace(NETWORK, frame=(960, 1280)), setting)
    environment = plan.environment()
    assert environment["NAME"] == "1"
    monkeypatch.setenv(VARIABLE, environment[VARIABLE])
    assert Plan.read() == plan


def test_the_settings_of_a_peer_have_different_names() -> None:
    for peer in all_peers(2):
        assert len({str(setting) for setting in peer.settings}) == len(peer.settings)


def test_a_form_has_the_image_in_it() -> None:
    setting = Setting("openvino", 1, 1, 2, 4, {"input": "multipart"})
    body, headers = request_of(setting, b"\xff\xd8")
    boundary = headers["Content-Type"].partition("boundary=")[2].encode()
    assert body.startswith(b"--" + boundary + b"\r\n")
    assert b"\r\n\r\n\xff\xd8\r\n--" + boundary + b"--" in body


def test_a_peer_that_is_not_installed_says_what_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peers_module, "PYTHON", tmp_path / "python")
    with pytest.raises(BenchError, match=r"litserve and bentoml and ray .*not installed.*run `make \.bench/peers`"):
        installed(all_peers(2))


def test_what_the_peers_need_has_versions_in_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    text = (ROOT / "bench" / "peers" / "requirements.txt").read_text()
    wanted = [Requirement(line) for line in text.splitlines() if not line.startswith("#")]
    assert {canonicalize_name(one.name) for one in wanted} <= pinned


@pytest.mark.slow
def test_a_server_that_ends_says_what_it_said_and_one_that_runs_is_ended_with_its_children(tmp_path: Path) -> None:
    code = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); print('hello', flush=True); time.sleep(60)"
    with Program("peer", [sys.executable, "-c", code], {}, tmp_path) as program:
        while not (children := psutil.Process(program.pid).children()):
            pass
    assert not program_is_there(program.pid)
    assert not any(program_is_there(child.pid) for child in children)
    with (
        pytest.raises(BenchError, match="peer ended with status 1: no such luck"),
        Program("peer", [sys.executable, "-c", "import sys; sys.exit('no such luck')"], {}, tmp_path) as program,
    ):
        program.wait_until_it_answers(1, "/", b"", {})


def program_is_there(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def level(speed: float, **others: float) -> dict[str, float]:
    """Figures of a number of requests in flight."""
    figures = {"images_per_second": speed, "p50_ms": 20.0, "p99_ms": 30.0, "server_cpu_ms_per_image": 25.0}
    return {**figures, "load_cpu_ms_per_image": 0.5, "idle_share": 0.02, "resident_bytes": 4e8, **others}


def rounds() -> list[Round]:
    """Three rounds, in which this server gets 40, 44 and 50 images a second with 8 in flight, and the best peer 40."""
    served = [
        {name: {number: level(speed if number == 8 else 30) for number in (1, 2, 4, 8)} for name in OURS.values()}
        for speed in (40.0, 44.0, 50.0)
    ]
    theirs, slow = ({number: level(speed) for number in (1, 2, 4, 8)} for speed in (40, 10))
    raw = {"Slow, raw frames": slow, "Peer, raw frames": theirs}
    alone = {"loop in one process": {1: {"images_per_second": 30.0, "p50_ms": 1.0, "p99_ms": 2.0}, 8: level(50)}}
    return [{**one, "Peer": theirs, **raw, **alone} for one in served]


def result() -> dict[str, Any]:
    """What a run leaves, as JSON has it."""
    whole = {
        "measured_on": {"processor": "a processor", "cores": 2, "date": "2026-01-01", "peers": {"peer": "1.0"}},
        "images": {"count": 16, "width": 1280, "height": 960, "quality": 90, "mean_bytes": 182_000},
        "arithmetic": "int8",
        "seconds": 8,
        "agreement": {
            "images": 4,
            "Peer": {
                "tolerance": {"boxes_px": 1.0, "scores": 0.02},
                "largest": {"detections": 20, "boxes_px": 0.25, "scores": 0.001},
            },
        },
        "chosen": {"Peer": "2 workers of 1 inference thread"},
        **summary(rounds(), ["Peer"], ["Slow, raw frames", "Peer, raw frames"]),
    }
    content: dict[str, Any] = json.loads(json.dumps(whole))
    return content


def test_figures_are_medians_and_ratios_those_of_each_round() -> None:
    seen = result()
    assert seen["medians"][OURS["http"]]["8"]["images_per_second"] == 44
    assert seen["best_in_flight"][OURS["http"]] == 8
    ratio = seen["ratios"][0]
    assert (ratio["of"], ratio["to"]) == (OURS["http"], "Peer")
    assert (ratio["median"], ratio["lowest"], ratio["highest"]) == (1.1, 1.0, 1.25)
    assert seen["ratios"][3]["to"] == "Peer, raw frames", "the fastest of those that take raw frames"


def test_the_tables_show_every_contender_and_what_it_lacks() -> None:
    text = tables(result())
    assert "| **this server, HTTP** | 30.0 | 30.0 | 30.0 | 44.0 |" in text
    assert "| loop in one process | 30.0 | - | - | 50.0 |" in text
    assert "| Peer | 20 / 30 | 20 / 30 | 25.0 | 2 % | 400 |" in text
    assert "Peer: 0.25 px, 0.001." in text
    assert "| this server, HTTP / Peer (1.00 to 1.25) | **1.10** |" in text
    prose = [line for line in text.splitlines() if not line.startswith("|")]
    assert max(map(len, prose)) <= 120


def test_the_page_of_benchmarks_has_the_tables_that_the_command_makes_of_the_file() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    [shown] = re.findall(r"<!-- peers -->\n\n(.*?)\n\n<!-- /peers -->", page, re.DOTALL)
    if not RESULTS.is_file():
        assert shown == "Not measured yet."
        return
    told = subprocess.run([*COMMAND, "--table", str(RESULTS)], capture_output=True, text=True, cwd=ROOT, check=True)
    assert shown == told.stdout.strip()


def test_a_peer_that_nobody_knows_ends_the_command_with_status_2() -> None:
    told = subprocess.run([*COMMAND, "--only", "nobody"], capture_output=True, text=True, cwd=ROOT)
    assert told.returncode == 2
    assert "python -m bench.peers: no peer's name contains 'nobody': LitServe, OpenVINO" in told.stderr


@pytest.mark.slow
def test_litserve_detects_what_this_server_detects_and_is_loaded(server: TritonServer, tmp_path: Path) -> None:
    if not PYTHON.is_file():
        pytest.skip("the peers' servers are not installed: make .bench/peers")
    images = draw_images(COMPARED)
    paths = [tmp_path / f"{number}.jpg" for number in range(COMPARED)]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(image)
    with Detector(f"127.0.0.1:{server.addresses.grpc}") as detector:
        ours = [detector.detect(image) for image in images]
    peer = all_peers(2)[0]
    network = _network(REPOSITORY, server.proved()["yolo"].arithmetic, tmp_path)
    contender = Contender(peer.name, peer, peer.settings[0], network, paths, SAME_ENGINE)
    assert contender.agrees(ours).detections > 10
    assert contender.load([2], 1.0)[2]["images_per_second"] > 1
