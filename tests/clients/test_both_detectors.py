"""What Detector and AsyncDetector offer alike, each with the real server."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from tests.clients.comparing import assert_same
from triton_yolo.clients import AsyncDetector, DetectionError, Detections, Detector, ServerBusy

Result = TypeVar("Result")
GREY = np.full((2, 64, 64, 3), 114, np.uint8)
BOTH = pytest.mark.parametrize("kind", [Detector, AsyncDetector])
# How long an idle server takes for one board is not known here; these are far below and far above.
TOO_SHORT, AMPLE = 1e-6, 25.0


def public(kind: type) -> dict[str, inspect.Signature]:
    """Public methods by name, and the constructor."""
    methods = {name: value for name, value in inspect.getmembers(kind, callable) if not name.startswith("_")}
    return {name: inspect.signature(method) for name, method in {**methods, "__init__": kind.__init__}.items()}


def test_both_have_the_same_methods_with_the_same_arguments_and_defaults() -> None:
    ours, theirs = public(Detector), public(AsyncDetector)

    assert list(ours) == list(theirs)
    for name, signature in ours.items():
        other = theirs[name].parameters
        assert list(signature.parameters) == list(other), name
        for parameter in signature.parameters.values():
            twin = other[parameter.name]
            assert (parameter.kind, parameter.default) == (twin.kind, twin.default), (name, parameter)
            if (name, parameter.name) != ("detect_many", "images"):  # an asynchronous iterable is taken too
                assert parameter.annotation == twin.annotation, (name, parameter)


async def collected(results: Any) -> list[Any]:
    return [result async for result in results]


def call(kind: type, url: str, use: Callable[[Any], Any], **arguments: Any) -> Any:
    """Open a detector of either kind, call a method of it, and return all of the result."""

    async def run() -> Any:
        async with AsyncDetector(url, **arguments) as detector:
            result = use(detector)
            return await result if isinstance(result, Awaitable) else await collected(result)

    if kind is AsyncDetector:
        return asyncio.run(run())
    with Detector(url, **arguments) as detector:
        result = use(detector)
        return list(result) if inspect.isgenerator(result) else result


@pytest.fixture
def mixed(images: list[Path], tmp_path: Path) -> list[Path]:
    """Two boards with a file between them that is no image."""
    (tmp_path / "text.png").write_text("no image")
    return [images[0], tmp_path / "text.png", images[1]]


@BOTH
def test_the_error_of_one_file_names_it(kind: type, url: str, mixed: list[Path]) -> None:
    with pytest.raises(DetectionError) as caught:
        call(kind, url, lambda detector: detector.detect(mixed[1]))
    assert str(caught.value).startswith(f"{mixed[1]}: image is neither JPEG nor PNG")

    with pytest.raises(DetectionError, match=r"text\.png: image is neither JPEG nor PNG"):
        call(kind, url, lambda detector: detector.detect_many(mixed))


@BOTH
def test_errors_can_be_returned_in_their_turn(kind: type, url: str, mixed: list[Path], detector: Detector) -> None:
    first, error, last = call(kind, url, lambda detector: detector.detect_many(mixed, errors="return"))

    assert_same(first, detector.detect(mixed[0]))
    assert isinstance(error, DetectionError)
    assert str(error).startswith(f"{mixed[1]}: image is neither JPEG nor PNG")
    assert_same(last, detector.detect(mixed[2]))


@BOTH
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"priority": 0}, "priority must be a whole number of 1 or more .*, got 0"),
        ({"priority": 1.5}, "priority must be a whole number of 1 or more .*, got 1.5"),
        ({"queue_timeout": 0}, "queue_timeout must be a number of seconds above 0, got 0"),
        ({"queue_timeout": float("nan")}, "queue_timeout must be a number of seconds above 0, got nan"),
        ({"score_threshold": 1.5}, "score_threshold must be a number from 0 to 1, got 1.5"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_sent(kind: type, arguments: dict, message: str) -> None:
    for use in (
        lambda detector: detector.detect(GREY[0], **arguments),
        lambda detector: detector.detect_frames(GREY, **arguments),
        lambda detector: detector.detect_many(iter(()), **arguments),
    ):
        with pytest.raises(DetectionError, match=message):
            call(kind, "127.0.0.1:1", use)
    with pytest.raises(DetectionError, match="errors must be one of raise, return; got 'ignore'"):
        call(kind, "127.0.0.1:1", lambda detector: detector.detect_many([], errors="ignore"))


@BOTH
def test_a_request_that_waits_too_long_is_told_as_busy(kind: type, url: str, images: list[Path]) -> None:
    results = call(
        kind,
        url,
        lambda detector: detector.detect_many(
            images[:1] * 24, errors="return", concurrency=24, queue_timeout=TOO_SHORT
        ),
    )

    late = [result for result in results if isinstance(result, DetectionError)]
    assert late
    for error in late:
        assert isinstance(error, ServerBusy)
        assert str(error).startswith(f"{images[0]}: the request waited in a queue of the server at ")
    assert all(isinstance(r, Detections) for r in call(kind, url, lambda d: d.detect_many(images, queue_timeout=AMPLE)))


@pytest.mark.slow
@BOTH
def test_the_first_priority_goes_before_the_second(kind: type, url: str, images: list[Path]) -> None:
    """Frames too: they are sent last, and some are answered before what has been waiting."""
    encoded, frame = images[4].read_bytes(), np.full((1, 64, 64, 3), 114, np.uint8)
    order: list[int] = []

    async def one(detector: AsyncDetector, priority: int) -> None:
        if len(order) % 2:
            await detector.detect(encoded, priority=priority)
        else:
            await detector.detect_many([encoded], priority=priority).__anext__()
        order.append(priority)

    async def run() -> None:
        async with AsyncDetector(url) as detector:
            await detector.detect_frames(frame, priority=1)
            waiting = [asyncio.ensure_future(one(detector, 2)) for _ in range(120)]
            await asyncio.sleep(0.2)
            await asyncio.gather(*waiting, *(one(detector, 1) for _ in range(4)))

    def one_of(detector: Detector, priority: int) -> None:
        detector.detect(encoded, priority=priority)
        order.append(priority)

    if kind is AsyncDetector:
        asyncio.run(run())
    else:
        with Detector(url) as detector, ThreadPoolExecutor(124) as pool:
            detector.detect_frames(frame, priority=1)
            futures = [pool.submit(one_of, detector, 2) for _ in range(120)]
            time.sleep(0.2)
            futures += [pool.submit(one_of, detector, 1) for _ in range(4)]
            for future in futures:
                future.result()

    assert sorted(order) == [1] * 4 + [2] * 120
    last = max(place for place, priority in enumerate(order) if priority == 1)
    assert last < len(order) - 8, f"sent last, answered {last} of {len(order)}"


@BOTH
def test_a_closed_detector_says_so(kind: type, url: str) -> None:
    detector = kind(url)

    async def close() -> None:
        await detector.close()
        await detector.close()
        for use in (
            lambda: detector.detect(GREY[0]),
            lambda: detector.detect_frames(GREY),
            lambda: detector.frames(1, 8, 8),
            lambda: detector.labels(),
            lambda: collected(detector.detect_many([GREY[0]])),
        ):
            with pytest.raises(DetectionError, match="this detector has been closed"):
                await use()

    if kind is AsyncDetector:
        asyncio.run(close())
    else:
        detector.close()
        for use in (
            lambda: detector.detect(GREY[0]),
            lambda: detector.frames(1, 8, 8),
            lambda: list(detector.detect_many([GREY[0]])),
        ):
            with pytest.raises(DetectionError, match="this detector has been closed"):
                use()


@BOTH
def test_more_frames_than_the_server_takes_are_refused_with_the_limit(kind: type, url: str) -> None:
    with pytest.raises(DetectionError) as caught:
        call(kind, url, lambda detector: detector.detect_frames(np.zeros((33, 4, 4, 3), np.uint8)))

    assert str(caught.value) == (
        "33 frames in one request are too many: the server's model detect_frames takes at most 32; send several "
        "requests"
    )
