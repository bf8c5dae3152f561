"""What of the client needs Linux or a GPU fails when it is used, and says why."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from triton_yolo.clients import DetectionError, Detector
from triton_yolo.clients.memory import system

# Modules of Python that Windows or macOS lack, and packages that need a GPU or come with the server alone.
ABSENT_ELSEWHERE = {"fcntl", "resource", "pwd", "grp", "termios", "posix", "pty", "cuda", "cupy", "torch", "pytriton"}
CLIENT = [
    *(ROOT / "clients").rglob("*.py"),
    *(ROOT / "triton_yolo" / "cli").glob("*.py"),
    ROOT / "triton_yolo/files.py",
]


def loaded_at_once(path: Path) -> set[str]:
    """Top-level packages that a module imports when it is imported."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("path", CLIENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_of_the_client_loads_what_other_systems_lack(path: Path) -> None:
    assert not loaded_at_once(path) & ABSENT_ELSEWHERE


@pytest.mark.parametrize("lacking", ["the function", "the folder"])
def test_shared_memory_without_linux_is_refused_when_it_is_used(
    lacking: str, grpc_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if lacking == "the function":
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(system, "FOLDER", tmp_path / "none")

    with (
        Detector(grpc_url, memory="system") as detector,
        pytest.raises(DetectionError, match=f"'system' needs Linux .* and this is {sys.platform}: use memory='plain'"),
    ):
        detector.frames(1, 8, 8)
