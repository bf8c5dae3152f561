"""python -m bench.features."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.features import FRAMES, TOLERANCES
from bench.tiles.scenes import scenes
from tests.conftest import ROOT


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "triton_yolo", "bench", "features", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT, check=False)


def test_its_scenes_are_those_of_tiles() -> None:
    assert set(FRAMES) <= {scene.name for scene in scenes()}


def test_a_folder_without_a_graph_is_said_in_one_line(tmp_path: Path) -> None:
    told = bench("--repository", str(tmp_path), "--out", str(tmp_path))
    assert told.returncode == 2
    assert "has no yolo/1/model.onnx" in told.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.long
@pytest.mark.slow
def test_some_frames_are_sent_in_every_way(tmp_path: Path) -> None:
    told = bench("--frames", "3", "--out", str(tmp_path))
    assert told.returncode == 0, told.stderr
    content = json.loads((tmp_path / "features.json").read_text())
    assert list(content["scenes"]) == list(FRAMES)
    for figures in content["scenes"].values():
        sizes = figures["bytes_a_frame"]
        assert 0 <= sizes["differences"] <= sizes["coded_features"] < sizes["features"]
        assert sum(figures["shares"].values()) == pytest.approx(1)
        assert figures["map50_95"]["whole"] > 0.5
    assert content["scenes"]["stands still"]["bytes_a_frame"]["differences"] == 0
    swept = [content["bytes_a_frame_by_tolerance"][str(tolerance)] for tolerance in TOLERANCES]
    assert swept == sorted(swept, reverse=True)
