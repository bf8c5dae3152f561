"""Boards as files, bytes and pixels, and the addresses of the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from triton_yolo.boards import draw_board
from triton_yolo.clients import Detector
from triton_yolo.server.process import TritonServer

SIZES = [(320, 240), (200, 300), (256, 256), (90, 400), (640, 480), (300, 200)]  # width, height


@pytest.fixture(scope="session")
def frames() -> list[np.ndarray]:
    """RGB pixels of boards of different sizes."""
    return [draw_board(seed, *size, look="photo").image for seed, size in enumerate(SIZES)]


@pytest.fixture(scope="session")
def folder(frames: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same boards as files, of which the odd ones are JPEG, for reading only."""
    folder = tmp_path_factory.mktemp("boards")
    for i, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"board_{i}.{('png', 'jpg')[i % 2]}"), frame[..., ::-1])
    return folder


@pytest.fixture(scope="session")
def images(folder: Path) -> list[Path]:
    """The files, sorted."""
    return sorted(folder.iterdir())


@pytest.fixture(scope="session", params=["grpc", "http"])
def url(request: pytest.FixtureRequest, server: TritonServer) -> str:
    """The server's address for each protocol."""
    at = server.addresses
    return f"{at.host}:{at.grpc}" if request.param == "grpc" else f"http://{at.host}:{at.http}"


@pytest.fixture(scope="session")
def grpc_url(server: TritonServer) -> str:
    """The server's address for tests that have nothing to do with protocols."""
    return f"{server.addresses.host}:{server.addresses.grpc}"


@pytest.fixture(scope="session")
def grpc_detector(grpc_url: str) -> Iterator[Detector]:
    """A connected detector for the same."""
    with Detector(grpc_url) as detector:
        yield detector


@pytest.fixture(scope="session")
def detector(url: str) -> Iterator[Detector]:
    """A connected detector for each protocol."""
    with Detector(url) as detector:
        yield detector
