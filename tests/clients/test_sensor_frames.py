"""Frames in the formats of sensors, from both detectors, with every protocol and kind of memory of the host."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from tests.clients.comparing import assert_same, assert_sure_ones_alike
from tests.server.sensors import CODES, converted
from triton_yolo.boards import draw_board
from triton_yolo.boards.sensor import as_sensor
from triton_yolo.clients import AsyncDetector, DetectionError, Detections, Detector
from triton_yolo.clients.memory.pool import Memory

LOOSE = 0.1


@pytest.fixture(scope="module")
def boards() -> list[np.ndarray]:
    """Boards of one size."""
    return [draw_board(seed, 640, 480, "photo").image for seed in (4, 9_000_058)]


@pytest.fixture(scope="module", params=CODES)
def name(request: pytest.FixtureRequest) -> str:
    """A pixel format."""
    return str(request.param)


@pytest.fixture(scope="module")
def batch(name: str, boards: list[np.ndarray]) -> np.ndarray:
    """The boards in that format."""
    return np.stack([as_sensor(board, name) for board in boards])


@pytest.fixture(scope="module")
def expected(name: str, batch: np.ndarray, grpc_detector: Detector) -> list[Detections]:
    """What is found in them when they are converted before they are sent."""
    rgb = np.stack([converted(frame, name) for frame in batch])
    found = grpc_detector.detect_frames(rgb, score_threshold=LOOSE)
    assert all(len(one) > 1 for one in found)
    return found


@pytest.fixture(scope="module", params=["plain", "system"])
def detector(url: str, request: pytest.FixtureRequest) -> Iterator[Detector]:
    """A detector for each protocol with each kind of memory."""
    with Detector(url, memory=request.param) as detector:
        yield detector


def assert_all_same(found: list[Detections], expected: list[Detections]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_an_array_gives_what_it_gives_in_rgb(detector: Detector, name: str, batch, expected) -> None:
    assert_all_same(detector.detect_frames(batch, pixel_format=name, score_threshold=LOOSE), expected)
    again = detector.detect_frames(batch[::-1], count=1, pixel_format=name, score_threshold=LOOSE)
    assert_all_same(again, expected[1:])


def test_frames_give_what_an_array_gives(detector: Detector, name: str, batch, expected) -> None:
    with detector.frames(2, 480, 640, pixel_format=name) as frames:
        assert frames.shape == batch.shape
        frames.array[...] = batch
        assert_all_same(detector.detect_frames(frames, pixel_format=name, score_threshold=LOOSE), expected)
        frames.fill(batch[::-1].copy())
        found = detector.detect_frames(frames, count=1, pixel_format=name, score_threshold=LOOSE)
        assert_all_same(found, expected[1:])


@pytest.mark.parametrize("memory", ["plain", "system"])
def test_an_asynchronous_detector_gives_the_same(url: str, memory: Memory, name: str, batch, expected) -> None:
    async def run() -> list[list[Detections]]:
        async with AsyncDetector(url, memory=memory) as detector:
            async with await detector.frames(2, 480, 640, pixel_format=name) as frames:
                frames.array[...] = batch
                own = await detector.detect_frames(frames, pixel_format=name, score_threshold=LOOSE)
            return [own, await detector.detect_frames(batch, pixel_format=name, score_threshold=LOOSE)]

    for found in asyncio.run(run()):
        assert_all_same(found, expected)


def test_the_defects_are_those_of_the_picture_in_colour(grpc_detector: Detector, name: str, batch, boards) -> None:
    """A sensor sees less than the picture has: what is found for sure in one is found in the other."""
    in_colour = grpc_detector.detect_frames(np.stack(boards))
    of_sensor = grpc_detector.detect_frames(batch, pixel_format=name)
    assert sum(assert_sure_ones_alike(*pair) for pair in zip(in_colour, of_sensor, strict=True)) > 4


def test_arrays_of_all_formats_share_the_memory_that_is_kept(url: str, grpc_detector: Detector, boards) -> None:
    with Detector(url, memory="system") as detector:
        for name in ("rgb", "bayer_rggb", "nv12", "yuyv", "rgb"):
            batch = np.stack([as_sensor(board, name) for board in boards])
            assert_all_same(
                detector.detect_frames(batch, pixel_format=name, score_threshold=LOOSE),
                grpc_detector.detect_frames(batch, pixel_format=name, score_threshold=LOOSE),
            )


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("bayer_rggb", (1, 4, 5), r"bayer_rggb frames are uint8 \[B, H, W\] with an even height and width; got uint8"),
        ("bayer_rggb", (1, 4, 4, 3), r"\[B, H, W\] with an even height and width; got uint8 \[1, 4, 4, 3\]"),
        ("yuyv", (1, 4, 5, 2), r"yuyv frames are uint8 \[B, H, W, 2\] with an even width; got uint8 \[1, 4, 5, 2\]"),
        ("nv12", (1, 4, 4), r"nv12 frames are uint8 \[B, H \* 3/2, W\] with an even height and width; got"),
        ("rgb", (1, 4, 4), r"uint8 \[B, H, W, 3\] RGB; got uint8 \[1, 4, 4\]"),
        ("grey", (1, 4, 4), "'grey' is no pixel format: choose one of rgb, bayer_rggb"),
    ],
)
def test_frames_that_a_format_does_not_have_are_refused_before_they_are_sent(name: str, shape, message: str) -> None:
    with (
        Detector("127.0.0.1:1") as detector,  # nobody listens there
        pytest.raises(DetectionError, match=message),
    ):
        detector.detect_frames(np.zeros(shape, np.uint8), pixel_format=name)  # type: ignore[arg-type]


def test_frames_of_one_format_are_not_sent_as_another(detector: Detector) -> None:
    with detector.frames(1, 48, 64) as frames, pytest.raises(DetectionError, match="bayer_rggb frames are"):
        detector.detect_frames(frames, pixel_format="bayer_rggb")
    with (
        detector.frames(1, 48, 64, pixel_format="bayer_rggb") as frames,
        pytest.raises(DetectionError, match=r"pixels must be uint8 \[B, H, W\]; got uint8 \[1, 48, 64, 3\]"),
    ):
        frames.fill(np.zeros((1, 48, 64, 3), np.uint8))


def test_memory_for_a_size_that_a_format_does_not_have_is_refused(detector: Detector) -> None:
    with pytest.raises(DetectionError, match="nv12 frames have an even height and width; got 5x4"):
        detector.frames(1, 5, 4, pixel_format="nv12")
    with pytest.raises(DetectionError, match="'bayer' is no pixel format"):
        detector.frames(1, 4, 4, pixel_format="bayer")  # type: ignore[arg-type]
