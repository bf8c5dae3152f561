"""Outputs are what the served model says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.server.cells import copy_with_cells
from tests.support.servers import serving
from triton_yolo.clients import AsyncDetector, DetectionError, Detector
from triton_yolo.clients.detections import OUTPUTS
from triton_yolo.server.process import TritonServer

GREY = np.full((2, 48, 64, 3), 114, np.uint8)
FURTHER = """
  { name: "candidates" data_type: TYPE_FP32 dims: [ 300, 6 ] },
  { name: "image_size" data_type: TYPE_INT32 dims: [ 2 ] },
  { name: "scores" """
SCORES = '  { name: "scores" data_type: TYPE_FP32 dims: [ 100 ] },\n'
MAPPED = '      output_map { key: "scores" value: "scores" }\n'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server whose `detect_frames` has two further outputs, and whose `detect` has no scores."""
    repository = copy_with_cells(REPOSITORY, tmp_path_factory.mktemp("outputs") / "repository")
    _change(repository / "detect_frames" / "config.pbtxt", '\n  { name: "scores" ', FURTHER)
    _change(repository / "detect" / "config.pbtxt", SCORES, "")
    _change(repository / "detect" / "config.pbtxt", MAPPED, "")
    with serving(repository) as running:
        yield running


def _change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture(params=["grpc", "http"])
def served_url(request: pytest.FixtureRequest, served: TritonServer) -> str:
    at = served.addresses
    return f"{at.host}:{at.grpc}" if request.param == "grpc" else f"http://{at.host}:{at.http}"


def test_further_outputs_come_with_the_detections(served_url: str) -> None:
    async def asynchronously():
        async with AsyncDetector(served_url) as detector:
            return await detector.detect_frames(GREY, score_threshold=0)

    with Detector(served_url) as detector:
        found = detector.detect_frames(GREY, score_threshold=0)

    for one, other in zip(found, asyncio.run(asynchronously()), strict=True):
        assert len(one) > 0
        assert sorted(one.extra) == sorted(other.extra) == ["candidates", "image_size"]
        np.testing.assert_array_equal(one.extra["image_size"], [48, 64])
        assert one.extra["candidates"].shape == (300, 6)  # a row for each candidate, not for each box
        assert one.extra["candidates"].dtype == np.float32
        np.testing.assert_array_equal(one.extra["candidates"], other.extra["candidates"])


def test_a_missing_output_is_named(served_url: str, images: list[Path]) -> None:
    with Detector(served_url) as detector, pytest.raises(DetectionError) as caught:
        detector.detect(images[0])

    assert f"the server's answer has no scores: a model that detects answers with {', '.join(OUTPUTS)}" in str(
        caught.value
    )
