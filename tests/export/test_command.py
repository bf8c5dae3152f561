"""triton-yolo export."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx
import pytest

from tests.clients.commands import completed
from tests.conftest import REPOSITORY, ROOT
from tests.export.layouts import FAMILIES
from tests.export.opened import family_network
from triton_yolo.export.command import main
from triton_yolo.repository import read_config

Export = Callable[..., subprocess.CompletedProcess[str]]
NETWORK = ROOT / "models" / "pcb-yolov9t-elan.onnx"


def export(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "triton_yolo", "export", *map(str, arguments)]
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=environment)


@pytest.fixture
def export_here(capfd: pytest.CaptureFixture[str]) -> Export:
    """The same in this process, where all that takes long to load is loaded already."""
    return partial(completed, main, capfd)


def refused(result: subprocess.CompletedProcess[str]) -> str:
    """The one line that says why."""
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("triton-yolo export: ")
    return result.stderr


@pytest.fixture
def yolov8(tmp_path: Path) -> Path:
    onnx.save(family_network(FAMILIES["yolov8"], batch=1), tmp_path / "small.onnx")
    return tmp_path / "small.onnx"


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_the_default_repository_is_what_it_makes_of_the_default_network(tmp_path: Path, float_default: Path) -> None:
    repository = shutil.copytree(
        REPOSITORY, tmp_path / "repository", ignore=shutil.ignore_patterns("*.onnx", "__pycache__")
    )
    result = export(NETWORK, "--repository", repository, "--top-k", 300, "--rounding", "nearest")
    assert result.returncode == 0, result.stderr
    expected = {name: content for name, content in everything_in(REPOSITORY).items() if "__pycache__" not in name}
    for name in ("yolo/1/model.onnx", "yolo/1/model.proof.npz"):
        expected[name] = (float_default / name).read_bytes()  # before quantisation
    assert everything_in(repository) == expected


def test_it_says_what_it_recognised_and_proves_it(yolov8: Path) -> None:
    result = export(yolov8, "--top-k", 300)
    assert result.returncode == 0, result.stderr
    for text in (
        "yolov8: YOLOv8, YOLOv9, YOLO11",
        "320x320 (height x width), rgb-0-1",
        "3: kind0, kind1, kind2",
        "free; the file has 1",
        "1,228,800 -> 307,200 (uint8 pixels): 4.0 times less",
        "58,800 -> 7,200 (300 candidates): 8.2 times less",
        "Proved: largest difference between the original and the served graph: boxes ",
    ):
        assert text in result.stdout, result.stdout
    repository = yolov8.parent / "small_repository"
    assert f"triton-yolo serve --repository {repository}" in result.stdout
    assert list(read_config(repository / "yolo" / "config.pbtxt").output[0].dims) == [300, 6]


def test_inspect_writes_nothing(yolov8: Path, export_here: Export) -> None:
    before = sorted(yolov8.parent.iterdir())
    result = export_here(yolov8, "--inspect")
    assert result.returncode == 0, result.stderr
    assert "MACs an image" in result.stdout
    assert "Proved" not in result.stdout
    assert sorted(yolov8.parent.iterdir()) == before


def test_labels_come_from_a_file(yolov8: Path, tmp_path: Path) -> None:
    labels = tmp_path / "data.yaml"
    labels.write_text("names:\n  0: Käfer\n  1: Wanze\n  2: Laus\n")
    assert export(yolov8, "--labels", labels, "--repository", tmp_path / "r").returncode == 0
    config = read_config(tmp_path / "r" / "nms" / "config.pbtxt")
    assert json.loads(config.parameters["labels"].string_value) == ["Käfer", "Wanze", "Laus"]


def test_the_users_own_pictures_may_be_the_samples(yolov8: Path, tmp_path: Path, export_here: Export) -> None:
    shutil.copy(ROOT / "docs" / "demo.jpg", tmp_path)
    result = export_here(yolov8, "--images", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "detections in 1 images" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([ROOT / "README.md"], "README.md is not an ONNX file"),
        ([REPOSITORY / "yolo/1/model.onnx"], "this is a served graph already"),
        ([NETWORK, "--input", "rgb"], "--input must be one of rgb-0-1"),
        ([NETWORK, "--size", "320"], "fixed size 640x640"),
        ([NETWORK, "--size", "big"], "--size takes pixels"),
        ([NETWORK, "--size", "0"], "--size takes pixels"),
        ([NETWORK, "--mean", "1,2,3"], "--mean and --std are in the order and range of --input"),
        ([NETWORK, "--labels", ROOT / "pyproject.toml"], "labels"),
        ([NETWORK, "--images", ROOT / "tests"], "there are no JPEGs or PNGs in"),
    ],
)
def test_what_cannot_be_served_is_refused_and_nothing_is_written(
    tmp_path: Path, arguments: list[object], complaint: str, export_here: Export
) -> None:
    assert complaint in refused(export_here(*arguments, "--repository", tmp_path / "new"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("option", ["--top-k=0", "--top-k=3841", "--head=yolo99", "--letterbox=middle", "--nonsense"])
def test_options_that_are_none_are_refused(option: str, export_here: Export) -> None:
    result = export_here(NETWORK, option)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_a_repository_that_is_there_stays_when_the_export_fails(
    tmp_path: Path, yolov8: Path, export_here: Export
) -> None:
    assert export_here(yolov8, "--repository", tmp_path / "r").returncode == 0
    before = everything_in(tmp_path / "r")
    labels = tmp_path / "labels.txt"
    labels.write_text("too\nfew\n")
    refused(export_here(NETWORK, "--labels", labels, "--repository", tmp_path / "r"))
    assert everything_in(tmp_path / "r") == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, yolov8: Path, export_here: Export) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert f"cannot write {tmp_path / 'file' / 'r'}" in refused(
        export_here(yolov8, "--repository", tmp_path / "file" / "r")
    )


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "triton_yolo", "export", str(NETWORK), "--repository", str(tmp_path / "r")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has recognised the network and is about to prove it
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert "Traceback" not in stderr
    if process.returncode:  # otherwise it was done before the signal came
        assert (process.returncode, stderr.count("interrupted")) == (130, 1)
        assert not (tmp_path / "r").exists()
