"""The Makefile's way to serve."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.server.wire import Client
from triton_yolo.server.process import free_addresses


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile, in which everything is installed."""
    for name in ("pyproject.toml", "constraints.txt", "Makefile"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (tmp_path / ".venv" / "product").touch()
    return tmp_path


@pytest.mark.slow
def test_ctrl_c_ends_make_serve_without_an_error_of_make_s(checkout: Path) -> None:
    at = free_addresses()
    options = f"--http-port {at.http} --grpc-port {at.grpc} --metrics-port {at.metrics}"
    with subprocess.Popen(
        ["make", "serve", f"ARGS={options}"],
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal's foreground group, which Ctrl-C reaches as a whole
    ) as make:
        assert make.stdout
        told = ""
        while "metrics" not in told:
            line = make.stdout.readline()
            assert line, told + make.communicate()[1]
            told += line
        assert Client(at).ready()
        os.killpg(make.pid, signal.SIGINT)
        rest, errors = make.communicate(timeout=60)
    assert errors == "Stopping: requests in flight may take up to 10 s ...\n"
    assert "Error" not in rest
    assert make.returncode in (0, -signal.SIGINT, 130)


@pytest.mark.slow
def test_another_end_is_an_error_of_make_s(checkout: Path) -> None:
    result = subprocess.run(
        ["make", "serve", "ARGS=--repository nowhere"], cwd=checkout, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2
    assert f"no model repository at {checkout / 'nowhere'}: " in result.stderr
    assert "Error 2" in result.stderr
