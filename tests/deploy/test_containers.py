"""The image for the CPU, built and run by Docker."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow
NAME = "triton-yolo-cpu-tested"


@pytest.fixture(scope="module")
def docker() -> str:
    """The client of a Docker that runs."""
    program = shutil.which("docker")
    if program is None or subprocess.run([program, "info"], capture_output=True).returncode:
        pytest.skip("Docker does not run here")
    return program


@pytest.fixture(scope="module")
def image(docker: str) -> Iterator[str]:
    """The image, built from the checkout."""
    file = ROOT / "deploy" / "Dockerfile.cpu"
    subprocess.run([docker, "build", "--quiet", "--tag", NAME, "--file", file, ROOT], check=True)
    yield NAME
    subprocess.run([docker, "image", "rm", NAME], check=True, capture_output=True)


def test_the_image_serves_and_finds_the_defects_of_the_demo(docker: str, image: str) -> None:
    command = ["python", "-m", "triton_yolo", "demo", "--out", "/tmp/out"]
    result = subprocess.run([docker, "run", "--rm", "--shm-size=1g", image, *command], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "drawn defects were found where they are" in result.stdout
