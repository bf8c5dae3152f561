"""These tests need an NVIDIA GPU."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.support.servers import serving
from triton_yolo.clients import DetectionError
from triton_yolo.clients.memory.cuda import current_device
from triton_yolo.server.errors import ServerError
from triton_yolo.server.gpu_selection import find_gpu
from triton_yolo.server.process import TritonServer, free_addresses

BACKENDS = "TRITON_YOLO_BACKENDS"
SECONDS = 300  # every batch size is run while the server starts


@pytest.fixture(scope="session", autouse=True)
def gpu() -> int:
    """The number of the GPU."""
    try:
        number = current_device()
        find_gpu(str(number))
        return number
    except (DetectionError, ServerError) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def server(gpu: int) -> Iterator[TritonServer]:
    """The default repository, served on the GPU."""
    with TritonServer(REPOSITORY, free_addresses(), lambda line: None, "gpu") as running:
        running.wait_until_ready(SECONDS)
        yield running


@pytest.fixture(scope="session", params=["pip", "native"])
def float_gpu_server(request: pytest.FixtureRequest, gpu: int, float_default: Path) -> Iterator[TritonServer]:
    """The same with its graph as it was before quantisation: by Python models, and with Triton's own DALI backend."""
    backends = os.environ.get(BACKENDS) if request.param == "native" else None
    if request.param == "native" and not backends:
        pytest.skip(f"{BACKENDS} does not name a folder with Triton's DALI backend, built for the pip tritonserver")
    folder = Path(backends) if backends else None
    with TritonServer(float_default, free_addresses(), lambda line: None, "gpu", folder) as running:
        running.wait_until_ready(SECONDS)
        yield running


@pytest.fixture(scope="session")
def dali_server(float_default: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """That graph on the CPU, behind DALI's pixels: OpenCV, which takes DALI's place there, rounds halves otherwise.

    It takes the place of definitions that it knows letter for letter, so a comment keeps it away.
    """
    repository = tmp_path_factory.mktemp("dali") / "repository"
    shutil.copytree(float_default, repository, symlinks=True)
    for definition in repository.glob("preprocess*/1/dali.py"):
        definition.write_text(f"{definition.read_text()}# for DALI alone\n")
    with serving(repository) as running:
        yield running
