"""Each example against the real server, as a reader would run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT
from triton_yolo.boards import draw_board
from triton_yolo.clients import Detector
from triton_yolo.server.process import TritonServer

EXAMPLES = ROOT / "examples"
TESTED = {"README.md", "async_detect.py", "cameras.py", "curl.sh", "detect.ipynb", "detect.py"}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG with defects."""
    path = tmp_path_factory.mktemp("board") / "board.jpg"
    cv2.imwrite(str(path), draw_board(7, 1280, 960, look="photo").image[..., ::-1])
    return path


@pytest.fixture(scope="module")
def url(server: TritonServer) -> str:
    return f"{server.addresses.host}:{server.addresses.grpc}"


def run(script: str, *arguments: object) -> str:
    """Run a Python example in the folder above, and return what it prints."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_example_has_a_test_and_a_line_in_the_table() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if not path.name.startswith("__")} == TESTED
    table = (EXAMPLES / "README.md").read_text()
    assert all(f"[{name}]({name})" in table for name in TESTED - {"README.md"})


def test_files_are_detected_and_one_that_fails_is_named(url: str, board: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")

    first, *boxes, last = run(
        "detect.py", tmp_path / "text.png", board, tmp_path / "none.jpg", "--url", url
    ).splitlines()

    assert first.startswith(f"image 1: {tmp_path / 'text.png'}: image is neither JPEG nor PNG")
    with Detector(url) as detector:
        found = detector.detect(board)
    assert boxes[0] == f"image 2: {len(found)} defects"
    assert [box.split()[0] for box in boxes[1:]] == list(found.names)
    assert last == f"image 3: cannot read {tmp_path / 'none.jpg'}: No such file or directory"


def test_without_files_boards_are_drawn(url: str) -> None:
    assert run("detect.py", "--url", url).startswith("image 1: ")


def test_asyncio_inspects_beside_the_archive(url: str) -> None:
    lines = run("async_detect.py", "--url", url).splitlines()

    assert sorted(line.partition(":")[0] for line in lines) == ["archived", *["inspected"] * 4]
    assert lines[-1].startswith("archived: "), "what goes first is answered first"


def test_cameras_are_simulated(url: str) -> None:
    printed = run("cameras.py", "--url", url, "--rounds", 2, "--cameras", 3)

    assert "6 frames of 3 cameras" in printed


def test_cameras_are_what_opencv_opens(url: str, board: Path, tmp_path: Path) -> None:
    video = cv2.VideoWriter(str(tmp_path / "line.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 30, (640, 480))  # type: ignore[attr-defined]
    for _ in range(3):
        video.write(cv2.resize(cv2.imread(str(board)), (640, 480)))
    video.release()

    printed = run("cameras.py", "--url", url, "--source", tmp_path / "line.avi", "--source", tmp_path / "line.avi")

    assert "6 frames of 2 cameras" in printed


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="curl and jq are not installed")
def test_curl_prints_what_the_client_finds(server: TritonServer, url: str, board: Path, tmp_path: Path) -> None:
    at = f"http://{server.addresses.host}:{server.addresses.http}"
    done = subprocess.run([EXAMPLES / "curl.sh", board, at], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

    rows = [line.split("\t") for line in done.stdout.splitlines()]
    with Detector(url) as detector:
        found = detector.detect(board, score_threshold=0.4)
    assert tuple(row[0] for row in rows) == found.names
    np.testing.assert_allclose(
        [[float(v) for v in row[1:]] for row in rows], np.c_[found.scores, found.boxes], rtol=1e-5
    )

    (tmp_path / "text.png").write_text("no image")
    refused = subprocess.run([EXAMPLES / "curl.sh", tmp_path / "text.png", at], capture_output=True, text=True)
    assert refused.returncode != 0
    assert "image is neither JPEG nor PNG" in refused.stderr


def test_the_notebooks_cells_run_in_order(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((EXAMPLES / "detect.ipynb").read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    monkeypatch.setenv("TRITON_YOLO_URL", url)

    names: dict = {}
    for cell in code:
        exec("".join(cell["source"]), names)

    assert len(names["found"]) > 0
    assert names["picture"].shape == names["board"].shape
    assert (names["picture"] != names["board"]).any()
