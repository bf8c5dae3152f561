from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from tests.clients.comparing import assert_same
from triton_yolo.clients import AsyncDetector, DetectionError, Detections, Detector


def test_single_images_and_frames_give_what_the_synchronous_detector_gives(
    url: str, detector: Detector, images: list[Path], frames: list[np.ndarray]
) -> None:
    async def run() -> list[Detections]:
        async with AsyncDetector(url) as asynchronous:
            assert await asynchronous.labels() == detector.labels()
            batch = await asynchronous.detect_frames(frames[0][None])
            return [
                await asynchronous.detect(images[1], score_threshold=0.001, iou_threshold=0.3),
                await asynchronous.detect(images[1].read_bytes(), score_threshold=0.001, iou_threshold=0.3),
                await asynchronous.detect(frames[0]),
                *batch,
            ]

    path, encoded, frame, batched = asyncio.run(run())

    expected = detector.detect(images[1], score_threshold=0.001, iou_threshold=0.3)
    assert_same(path, expected)
    assert_same(encoded, expected)
    assert_same(frame, detector.detect(frames[0]))
    assert_same(batched, frame)


@pytest.mark.parametrize("asynchronous_images", [False, True])
def test_many_images_come_in_order(url: str, detector: Detector, images: list[Path], asynchronous_images: bool) -> None:
    async def camera() -> AsyncIterator[Path]:
        for image in images:
            await asyncio.sleep(0)
            yield image

    async def run() -> list[Detections]:
        async with AsyncDetector(url) as asynchronous:
            source = camera() if asynchronous_images else images
            return [found async for found in asynchronous.detect_many(source, concurrency=3)]

    for found, expected in zip(asyncio.run(run()), detector.detect_many(images), strict=True):
        assert_same(found, expected)


def test_gathered_requests_do_not_mix(url: str, detector: Detector, images: list[Path]) -> None:
    async def run() -> list[Detections]:
        async with AsyncDetector(url) as asynchronous:
            return await asyncio.gather(*(asynchronous.detect(image) for image in images))

    for found, image in zip(asyncio.run(run()), images, strict=True):
        assert_same(found, detector.detect(image))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"GIF89a..", "^image is neither JPEG nor PNG"),
        ("/nowhere/board.png", "^cannot read /nowhere/board.png: No such file"),
        (np.zeros((4, 4), np.uint8), r"uint8 \[H, W, 3\]"),
    ],
)
def test_a_bad_image_is_refused_and_the_next_is_served(url: str, images: list[Path], image, message: str) -> None:
    async def run() -> None:
        async with AsyncDetector(url) as asynchronous:
            with pytest.raises(DetectionError, match=message):
                await asynchronous.detect(image)
            await asynchronous.detect(images[0])

    asyncio.run(run())
