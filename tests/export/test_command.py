"""python -m export."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, ROOT

NETWORK = ROOT / "models" / "pcb-yolov9t.onnx"


def export(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "export", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return shutil.copytree(REPOSITORY, tmp_path / "repository", ignore=shutil.ignore_patterns("*.onnx"))


def test_the_default_repository_serves_the_default_network(repository: Path) -> None:
    result = export(NETWORK, "--repository", repository)
    assert result.returncode == 0, result.stderr
    graph = Path("yolo", "1", "model.onnx")
    assert (repository / graph).read_bytes() == (REPOSITORY / graph).read_bytes()


@pytest.mark.parametrize(
    ("network", "error"),
    [
        (ROOT / "README.md", "is not an ONNX file"),
        (REPOSITORY / "yolo/1/model.onnx", "expected images [N, 3, H, W] and predictions"),
    ],
)
def test_what_is_no_network_is_refused_and_the_graph_stays(repository: Path, network: Path, error: str) -> None:
    graph = repository / "yolo" / "1" / "model.onnx"
    graph.write_bytes(b"the old one")
    result = export(network, "--repository", repository)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("python -m export: ")
    assert error in result.stderr
    assert graph.read_bytes() == b"the old one"


def test_a_folder_without_a_repository_is_refused(tmp_path: Path) -> None:
    result = export(NETWORK, "--repository", tmp_path)
    assert result.returncode == 2
    assert "is --repository a model repository?" in result.stderr
