"""What every verb does alike on the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def triton_yolo(*arguments: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "triton_yolo", *arguments]
    environment = os.environ | {"COLUMNS": str(columns)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment)


@pytest.mark.parametrize(
    ("option", "follower"), [("--labels", "--inspect"), ("--repository", "--inspect"), ("--size", "--nonsense")]
)
def test_an_option_does_not_take_the_next_one_for_its_value(option: str, follower: str) -> None:
    result = triton_yolo("export", "models/pcb-yolox-nano.onnx", option, follower, columns=200)
    assert result.returncode == 2
    assert f"{option} needs a value, and the option {follower} follows it" in result.stderr
    assert not (ROOT / follower).exists()


def test_values_may_begin_with_a_minus() -> None:
    result = triton_yolo("export", "models/pcb-yolox-nano.onnx", "--mean", "-1,2,3", columns=200)
    assert "--mean and --std are in the order and range of --input" in result.stderr


@pytest.mark.parametrize("columns", [80, 110])
@pytest.mark.parametrize("verb", ["export", "prove", "plan", "calibrate", "boards"])
def test_the_help_fits_the_terminal(verb: str, columns: int) -> None:
    result = triton_yolo(verb, "-h", columns=columns)
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= columns
    assert not re.search(r"<bool>|<str>|<int range>", result.stdout)
    assert str(ROOT) not in result.stdout


def test_the_measurements_of_a_checkout_are_below_bench() -> None:
    result = triton_yolo("bench", "copies", "-h")
    assert result.returncode == 0, result.stderr
    assert "Usage: triton-yolo bench copies [OPTIONS]" in result.stdout
    assert "Usage: triton-yolo bench [OPTIONS]" in triton_yolo("bench", "-h").stdout
    assert triton_yolo("bench", "nothing").returncode == 2
