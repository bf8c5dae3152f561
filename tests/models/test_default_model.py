"""The default model, measured through the running server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from triton_yolo.server.process import TritonServer

pytestmark = pytest.mark.computes


def evaluate(server: TritonServer, images: Path, annotations: Path, result: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "triton_yolo", "evaluate", "--url", f"127.0.0.1:{server.addresses.grpc}"]
    options = ["--images", images, "--annotations", annotations, "--json", result]
    subprocess.run([*command, *map(str, options)], check=True, timeout=300)
    return json.loads(result.read_text())


@pytest.mark.slow
def test_scans_of_boards_never_seen_in_training(server: TritonServer, deeppcb: Path, tmp_path: Path) -> None:
    figures = evaluate(server, deeppcb / "images", deeppcb / "val.json", tmp_path / "val.json")
    assert figures["map50"] >= 0.93
    assert figures["map50_95"] >= 0.60


@pytest.mark.long
@pytest.mark.slow
def test_fresh_synthetic_boards(server: TritonServer, tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    options = [
        "--count",
        "200",
        "--look",
        "both",
        "--size",
        "640x640",
        "--size",
        "960x1280",
        "--seed",
        "12345",
        "--workers",
        "2",
    ]
    subprocess.run(
        [sys.executable, "-m", "triton_yolo", "boards", "--out", str(boards), *options], check=True, timeout=300
    )
    figures = evaluate(server, boards / "images", boards / "annotations.json", tmp_path / "fresh.json")
    assert figures["map50"] >= 0.90
