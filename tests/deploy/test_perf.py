"""The load generator's script, with perf_analyzer against a real server."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bench.errors import BenchError
from bench.perf_analyzer import PerfAnalyzer
from tests.conftest import ROOT
from tests.deploy.conftest import MeasuredServer
from tests.deploy.sending import BOARD
from triton_yolo.server.process import free_addresses

SCRIPT = ROOT / "deploy" / "perf" / "run.sh"


@pytest.fixture(scope="module")
def environment(measured: MeasuredServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the service in docker-compose.yml sets, for this machine, and short."""
    folder = tmp_path_factory.mktemp("perf")
    try:
        analyzer = PerfAnalyzer(folder)
    except BenchError as error:
        pytest.skip(str(error))
    frame = folder / "frame.rgb"
    frame.write_bytes(np.full((48, 64, 3), 114, np.uint8).tobytes())
    return {
        **analyzer.environment,
        "PATH": f"{analyzer.path.parent}:{analyzer.environment['PATH']}",
        "SERVER": f"127.0.0.1:{measured.addresses.grpc}",
        "CONCURRENCY": "1:2:1",
        "WINDOW_MS": "1500",
        "JPEG": str(BOARD),
        "FRAME": str(frame),
        "FRAME_SHAPE": "48,64,3",
        "CAMERAS": "2",
    }


@pytest.mark.slow
def test_jpegs_and_frames_leave_a_table_and_json_each(environment: dict[str, str], tmp_path: Path) -> None:
    command = ["bash", SCRIPT]
    result = subprocess.run(
        command, env={**environment, "OUT": str(tmp_path)}, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{model}.{kind}" for model in ("detect", "detect_frames") for kind in ("csv", "json")
    )
    for model in ("detect", "detect_frames"):
        summary = json.loads((tmp_path / f"{model}.json").read_text())
        assert summary["model"] == model
        assert [row["Concurrency"] for row in summary["rows"]] == [1, 2]
        assert all(row["Inferences/Second"] > 0 and row["p99 latency"] > 0 for row in summary["rows"])
        with (tmp_path / f"{model}.csv").open(newline="") as table:
            rows = list(csv.DictReader(table))
        assert {float(row["p50 latency"]) for row in rows} == {row["p50 latency"] for row in summary["rows"]}


@pytest.mark.parametrize("status", [0, 1])
def test_a_run_that_fails_leaves_no_figures_of_an_earlier_one(
    environment: dict[str, str], tmp_path: Path, status: int
) -> None:
    """Also where perf_analyzer ends with status 0 all the same, as its Python package's did."""
    out, programs = tmp_path / "out", tmp_path / "programs"
    out.mkdir()
    programs.mkdir()
    for name in ("detect.csv", "detect.json", "detect_frames.csv", "detect_frames.json", "other.csv"):
        (out / name).write_text("Concurrency\n1\n")
    wrapper = programs / "perf_analyzer"
    real = shutil.which("perf_analyzer", path=environment["PATH"])
    wrapper.write_text(f'#!/bin/sh\n"{real}" "$@"\nexit {status}\n')
    wrapper.chmod(0o755)
    result = subprocess.run(
        ["bash", SCRIPT],
        env={
            **environment,
            "OUT": str(out),
            "SERVER": f"127.0.0.1:{free_addresses().grpc}",
            "PATH": f"{programs}:{environment['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 1
    assert [path.name for path in out.iterdir()] == ["other.csv"]
    if not status:
        assert result.stderr.splitlines()[-1] == "perf: perf_analyzer measured nothing of detect: its reason is above"


def test_a_folder_that_is_not_there_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    result = subprocess.run(
        ["bash", SCRIPT], env={**environment, "OUT": str(tmp_path / "no")}, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f"perf: {tmp_path}/no is no folder that user ")
    assert result.stderr.count("\n") == 1
