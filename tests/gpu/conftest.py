"""These tests need an NVIDIA GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
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
