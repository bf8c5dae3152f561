"""Frames of AsyncDetector in each kind of memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.clients.comparing import assert_same
from tests.clients.test_frames_end import SHARED_MEMORY, registered
from tests.conftest import REPOSITORY
from tests.server.cells import copy_with_cells
from triton_yolo.clients import AsyncDetector, DetectionError, Detections, Detector, ServerUnavailable
from triton_yolo.clients.memory.pool import Memory
from triton_yolo.server.process import TritonServer, free_addresses

LOOSE = 0.001  # a score that lets something be found in every board
GREY = np.full((2, 64, 64, 3), 114, np.uint8)


@pytest.fixture(scope="session")
def batch(frames: list[np.ndarray]) -> np.ndarray:
    """Three frames of one size that show different things."""
    return np.stack([frames[4], frames[4][::-1], frames[4][:, ::-1]])


@pytest.mark.parametrize("memory", ["plain", "system"])
def test_frames_and_arrays_give_what_the_synchronous_detector_gives(
    url: str, grpc_detector: Detector, batch: np.ndarray, memory: Memory
) -> None:
    async def run() -> list[list[Detections]]:
        async with AsyncDetector(url, memory=memory) as detector:
            async with await detector.frames(*batch.shape[:3]) as frames:
                frames.array[...] = batch
                own, two = await asyncio.gather(
                    detector.detect_frames(frames, score_threshold=LOOSE),
                    detector.detect_frames(frames, count=2, score_threshold=LOOSE),
                )
            assert frames.closed
            return [
                own,
                two,
                await detector.detect_frames(batch, score_threshold=LOOSE),
                [await detector.detect(frame, score_threshold=LOOSE) for frame in batch],
            ]

    expected = grpc_detector.detect_frames(batch, score_threshold=LOOSE)
    assert sum(map(len, expected)) > 0
    for found in asyncio.run(run()):
        for one, other in zip(found, expected, strict=False):
            assert_same(one, other)


def test_tasks_do_not_write_into_each_others_frames(url: str, grpc_detector: Detector, batch: np.ndarray) -> None:
    async def run() -> list[list[Detections]]:
        async with AsyncDetector(url, memory="system") as detector:
            requests = (detector.detect_frames(batch[[i % 3]], score_threshold=LOOSE) for i in range(12))
            return await asyncio.gather(*requests)

    expected = grpc_detector.detect_frames(batch, score_threshold=LOOSE)
    for number, found in enumerate(asyncio.run(run())):
        assert_same(found[0], expected[number % 3])


def test_frames_are_registered_until_they_are_closed(url: str, server: TritonServer) -> None:
    async def run() -> list[str]:
        async with AsyncDetector(url, memory="system") as detector:
            frames = await detector.frames(2, 64, 64)
            assert frames.name in registered(server)
            assert (SHARED_MEMORY / frames.name).stat().st_size == frames.nbytes
            other = await detector.frames(1, 8, 8)
            with other:
                pass
            assert other.name not in registered(server)
            return [frames.name, other.name]

    for name in asyncio.run(run()):  # closed with the detector
        assert name not in registered(server)
        assert not (SHARED_MEMORY / name).exists()


def test_memory_that_the_server_refuses_is_freed(tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncDetector("127.0.0.1:1", memory="system") as detector:
            with pytest.raises(ServerUnavailable):
                await detector.frames(1, 8, 8)
            with pytest.raises(DetectionError, match="1 or more"):
                await detector.frames(0, 8, 8)

    before = set(SHARED_MEMORY.iterdir())
    asyncio.run(run())
    assert set(SHARED_MEMORY.iterdir()) <= before


@pytest.mark.slow
def test_frames_outlive_a_server_that_is_restarted(tmp_path: Path) -> None:
    addresses, repository = free_addresses(), copy_with_cells(REPOSITORY, tmp_path / "repository")  # quick to load

    async def when_it_answers(detector: AsyncDetector, frames) -> list[Detections]:
        for _ in range(20):
            try:
                return await detector.detect_frames(frames, score_threshold=0)
            except ServerUnavailable:
                await asyncio.sleep(0.2)
        return await detector.detect_frames(frames, score_threshold=0)

    async def run() -> None:
        async with AsyncDetector(f"127.0.0.1:{addresses.grpc}", memory="system") as detector:
            with TritonServer(repository, addresses, log=lambda line: None) as first:
                first.wait_until_ready()
                frames = await detector.frames(2, 64, 64)
                frames.fill(GREY)
                before = await detector.detect_frames(frames, score_threshold=0)
                assert min(map(len, before)) > 0
            with TritonServer(repository, addresses, log=lambda line: None) as second:
                second.wait_until_ready()
                for one, other in zip(await when_it_answers(detector, frames), before, strict=True):
                    assert_same(one, other)
                assert registered(second) == {frames.name}

    asyncio.run(run())
