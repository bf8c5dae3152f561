"""The version of TensorRT's library, asked for by a script that needs no other package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "export" / "tensorrt_library.py"
VERSION = "int getInferLib{}Version(void) {{ return {}; }}\n"


def said(library_path: Path | str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library_path)}
    return subprocess.run([sys.executable, "-I", SCRIPT], env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")
def test_the_library_itself_says_its_version(tmp_path: Path) -> None:
    """What stands in for it has three functions that say one."""
    numbers = {"Major": 11, "Minor": 3, "Patch": 0}
    (tmp_path / "library.c").write_text("".join(VERSION.format(part, number) for part, number in numbers.items()))
    command = ["cc", "-shared", "-fPIC", "-o", tmp_path / "libnvinfer.so.11", tmp_path / "library.c"]
    subprocess.run(command, check=True)
    assert said(tmp_path).stdout == "11.3.0"


@pytest.mark.skipif(said("").returncode == 0, reason="TensorRT is installed")
def test_without_a_library_there_is_no_version() -> None:
    result = said("")
    assert result.returncode == 1
    assert result.stderr == "libnvinfer.so is not on this machine's library path\n"
