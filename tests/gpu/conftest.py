"""These tests need an NVIDIA GPU; the server may run its models on the CPU."""

from __future__ import annotations

import pytest

from clients import DetectionError
from clients.cuda_frames import current_device


@pytest.fixture(scope="session", autouse=True)
def gpu() -> int:
    """The number of the GPU."""
    try:
        return current_device()
    except DetectionError as error:
        pytest.skip(str(error))
