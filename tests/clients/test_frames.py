from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.clients.comparing import assert_same
from triton_yolo.clients import AsyncDetector, DetectionError, Detections, Detector
from triton_yolo.clients.inputs import frames_request
from triton_yolo.clients.memory.cuda import current_device
from triton_yolo.clients.memory.pool import Memory
from triton_yolo.clients.request import SharedTensor

LOOSE = 0.001  # a score that lets something be found in every board
KINDS: list[Memory] = ["plain", "system"]


@pytest.fixture(scope="session")
def batch(frames: list[np.ndarray]) -> np.ndarray:
    """Three frames of one size that show different things."""
    return np.stack([frames[4], frames[4][::-1], frames[4][:, ::-1]])


@pytest.fixture(scope="module")
def expected(grpc_detector: Detector, batch: np.ndarray) -> list[Detections]:
    """What is found in them when they are sent as bytes."""
    return grpc_detector.detect_frames(batch, score_threshold=LOOSE)


@pytest.fixture(scope="module", params=KINDS)
def any_detector(url: str, request: pytest.FixtureRequest) -> Iterator[Detector]:
    """A detector for each protocol with each kind of memory."""
    with Detector(url, memory=request.param) as detector:
        yield detector


@pytest.fixture(scope="module")
def system(url: str) -> Iterator[Detector]:
    """A detector with shared memory for each protocol."""
    with Detector(url, memory="system") as detector:
        yield detector


def assert_all_same(found: list[Detections], expected: list[Detections]) -> None:
    assert sum(map(len, expected)) > 0
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_frames_give_what_the_same_array_gives_as_bytes(any_detector: Detector, batch, expected) -> None:
    with any_detector.frames(*batch.shape[:3]) as frames:
        frames.array[...] = batch

        assert_all_same(any_detector.detect_frames(frames, score_threshold=LOOSE), expected)


def test_an_array_gives_the_same_with_every_transport(any_detector: Detector, batch, expected) -> None:
    assert_all_same(any_detector.detect_frames(batch, score_threshold=LOOSE), expected)
    assert_all_same([any_detector.detect(frame, score_threshold=LOOSE) for frame in batch], expected)
    assert_all_same(any_detector.detect_frames(batch, count=2, score_threshold=LOOSE), expected[:2])


def test_encoded_images_do_with_every_transport(any_detector: Detector, grpc_detector: Detector, images: list) -> None:
    assert_same(any_detector.detect(images[0]), grpc_detector.detect(images[0]))


def test_what_is_written_into_a_view_is_what_is_detected(any_detector: Detector, batch, expected) -> None:
    with any_detector.frames(*batch.shape[:3]) as frames:
        view = frames.array
        view[...] = 114
        first = any_detector.detect_frames(frames, score_threshold=LOOSE)
        view[1] = batch[1]
        second = any_detector.detect_frames(frames, score_threshold=LOOSE)

        assert np.shares_memory(view, frames.array)
        assert np.shares_memory(view, np.from_dlpack(frames))  # type: ignore[arg-type]
        assert view.flags.writeable
    assert_same(second[1], expected[1])
    assert_same(second[0], first[0])
    assert len(first[1]) != len(second[1])


def test_a_batch_that_is_not_full_is_its_first_frames(any_detector: Detector, batch, expected) -> None:
    with any_detector.frames(8, *batch.shape[1:3]) as frames:
        frames.array[:2] = batch[:2]

        assert_all_same(any_detector.detect_frames(frames, count=2, score_threshold=LOOSE), expected[:2])


def test_an_asynchronous_detector_takes_the_frames_of_a_detector(url: str, system: Detector, batch, expected) -> None:
    async def run() -> list[Detections]:
        async with AsyncDetector(url) as detector:
            return await detector.detect_frames(frames, count=2, score_threshold=LOOSE)

    with system.frames(*batch.shape[:3]) as frames:
        frames.fill(batch)
        found = asyncio.run(run())

    assert_all_same(found, expected[:2])


def test_threads_do_not_write_into_each_others_frames(system: Detector, batch, expected) -> None:
    def detect(number: int) -> None:
        shown = [number % 3, (number + 1) % 3]
        found = system.detect_frames(batch[shown], score_threshold=LOOSE)
        assert_all_same(found, [expected[i] for i in shown])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(detect, range(24)))


def test_frames_of_many_sizes_go_one_after_the_other(system: Detector, frames: list[np.ndarray], grpc_detector) -> None:
    for found, frame in zip(system.detect_many(frames * 2, concurrency=3), frames * 2, strict=True):
        assert_same(found, grpc_detector.detect(frame))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"region": "nobody"}, "^Unable to find shared memory region: 'nobody'$"),
        ({"offset": 1}, "^Invalid offset \\+ byte size for shared memory region: '{name}'$"),
        ({"offset": 10**9}, "^Invalid offset for shared memory region: '{name}'$"),
        ({"byte_size": 2 * 8 * 8 * 3 + 1}, "^Invalid offset \\+ byte size for shared memory region"),
        ({"byte_size": 8 * 8 * 3}, "byte size mismatch for input 'frames'.* Expected 384, got 192$"),
        ({"shape": (1, 8, 8, 3)}, "byte size mismatch for input 'frames'.* Expected 192, got 384$"),
        ({"shape": (2, 8, 6, 4)}, r"unexpected shape for input 'frames'.* Expected \[-1,-1,-1,3\], got \[2,8,6,4\]"),
    ],
)
def test_a_wrong_place_is_refused_in_the_servers_words(system: Detector, changed: dict, message: str) -> None:
    with system.frames(2, 8, 8) as frames:
        frames.array[...] = 114
        request = frames_request(frames, {})
        assert isinstance(request.tensor, SharedTensor)
        with pytest.raises(DetectionError, match=message.replace("{name}", frames.name)):
            system.protocol.infer(replace(request, tensor=replace(request.tensor, **changed)))

        assert len(system.detect_frames(frames)) == 2


@pytest.mark.parametrize("count", [0, -1, 3])
def test_a_count_of_more_frames_than_there_are_is_refused(any_detector: Detector, count: int) -> None:
    with any_detector.frames(2, 8, 8) as frames:
        for batch in (frames, np.zeros((2, 8, 8, 3), np.uint8)):
            with pytest.raises(DetectionError, match=f"from 1 to the 2 that there are; got {count}"):
                any_detector.detect_frames(batch, count=count)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((3, 8, 8, 3), np.uint8), r"\[3, 8, 8, 3\] pixels do not fit into frames \[2, 8, 8, 3\]"),
        (np.zeros((2, 8, 8, 3)), r"uint8 \[B, H, W, 3\] RGB; got float64"),
        (np.zeros((8, 8, 3), np.uint8), r"uint8 \[B, H, W, 3\] RGB; got uint8 \[8, 8, 3\]"),
    ],
)
def test_pixels_that_do_not_fit_are_refused(any_detector: Detector, pixels: np.ndarray, message: str) -> None:
    with any_detector.frames(2, 8, 8) as frames, pytest.raises(DetectionError, match=message):
        frames.fill(pixels)


@pytest.mark.parametrize("shape", [(0, 8, 8), (1, 0, 8), (1, 8, -1)])
def test_frames_without_pixels_are_refused(any_detector: Detector, shape: tuple[int, int, int]) -> None:
    with pytest.raises(DetectionError, match="1 or more; got"):
        any_detector.frames(*shape)


def test_a_batch_above_the_servers_limit_is_refused_with_the_limit(system: Detector) -> None:
    with (
        system.frames(33, 8, 8) as frames,
        pytest.raises(DetectionError, match="takes at most 32; send several requests"),
    ):
        system.detect_frames(frames)


@pytest.mark.parametrize("kind", [Detector, AsyncDetector])
@pytest.mark.parametrize(
    ("url", "arguments", "message"),
    [
        ("http://127.0.0.1:8000", {"transport": "grpc"}, "asks for http, and the transport is to be grpc"),
        ("grpc://127.0.0.1:8001", {"transport": "http"}, "asks for grpc, and the transport is to be http"),
        ("127.0.0.1:8001", {"transport": "pigeon"}, "no transport: choose one of grpc, http, system, cuda"),
        ("127.0.0.1:8001", {"memory": "paper"}, "'paper' is no kind of memory: choose one of plain, system, cuda"),
    ],
)
def test_a_memory_or_transport_that_cannot_be_meant_is_refused(kind, url: str, arguments: dict, message: str) -> None:
    with pytest.raises(DetectionError, match=message):
        kind(url, **arguments)


def test_cuda_without_a_gpu_is_refused_before_anything_is_sent() -> None:
    try:
        current_device()
    except DetectionError:
        with pytest.raises(
            DetectionError, match="'cuda' needs an NVIDIA GPU and its driver on this machine; CUDA says"
        ):
            Detector("nowhere.invalid:8001", memory="cuda")
    else:
        pytest.skip("this machine has a GPU")


def test_a_transport_means_what_it_did_and_warns(server, images: list[Path]) -> None:
    at = server.addresses
    found = []
    for url, transport, advice in (
        (f"{at.host}:{at.grpc}", "grpc", f"use the URL 'grpc://{at.host}:{at.grpc}'"),
        (f"{at.host}:{at.http}", "http", f"use the URL 'http://{at.host}:{at.http}'"),
        (f"http://{at.host}:{at.http}", "http", f"use the URL 'http://{at.host}:{at.http}'"),
        (f"{at.host}:{at.grpc}", "system", "use memory='system'"),
    ):
        with pytest.warns(DeprecationWarning, match=advice) as caught:
            detector = Detector(url, transport=transport)  # type: ignore[arg-type]
        assert caught[0].filename == __file__
        with detector:
            found.append(detector.detect(images[0]))
            assert bool(detector.frames(1, 8, 8).name) == (transport == "system")
    for one in found[1:]:
        assert_same(one, found[0])
