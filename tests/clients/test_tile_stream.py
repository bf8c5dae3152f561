"""Detector.stream and AsyncDetector.stream, with the real server: what is found is of the frame that it should be."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.clients.unreliable import Unreliable
from tests.conftest import REPOSITORY
from tests.server.cells import copy_with_cells
from tests.support.servers import serving
from triton_yolo.boards.line import Line
from triton_yolo.clients import AsyncDetector, DetectionError, Detector, ServerUnavailable
from triton_yolo.clients.change_stream import FORGET, AsyncChangeStream, ChangeStream, StreamResult
from triton_yolo.clients.stream.tiles import TileEncoder
from triton_yolo.server.process import Addresses, TritonServer, free_addresses

HEIGHT, WIDTH = 192, 256
PATIENCE = 60.0  # seconds; machines that run tests are busy
ASKED = {"frame_checksum": 1, "score_threshold": 0.4}
BOTH = pytest.mark.parametrize("kind", [Detector, AsyncDetector])


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose answers are quick."""
    return copy_with_cells(REPOSITORY, tmp_path_factory.mktemp("cells") / "repository")


@pytest.fixture(scope="module")
def address(repository: Path) -> Iterator[str]:
    with serving(repository) as running:
        yield grpc(running.addresses)


def grpc(addresses: Addresses) -> str:
    return f"{addresses.host}:{addresses.grpc}"


def frames(seed: int) -> Iterator[np.ndarray]:
    """A scene in which now and then something is laid down, or all is another."""
    random = np.random.default_rng(seed)
    scene = random.integers(60, 200, (HEIGHT // 8, WIDTH // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    while True:
        event = random.integers(10)
        if event == 0:
            scene = np.roll(scene, 8, axis=1)
        elif event < 6:
            row, column = random.integers(0, (HEIGHT - 20, WIDTH - 20)).tolist()
            scene[row : row + 20, column : column + 20] = random.integers(0, 256, 3)
        yield scene.copy()


class Mirror:
    """What the server should have: without loss, the parts of the frames that were sent, where they were."""

    def __init__(self) -> None:
        self.frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        self.kinds: Counter[str] = Counter()

    def check(self, result: StreamResult, frame: np.ndarray) -> None:
        for x1, y1, x2, y2 in result.sent.tolist():
            self.frame[y1:y2, x1:x2] = frame[y1:y2, x1:x2]
        assert result.detections.extra["frame_checksum"].tolist() == [zlib.crc32(self.frame)], "a wrong picture"
        assert result.detections.extra["frame_number"].tolist() == [result.found_in]
        assert result.reused == (result.kind == "nothing")
        np.testing.assert_array_equal(self.frame, frame)  # there is no noise
        self.kinds[result.kind] += 1


def encoder(name: str, **options: object) -> TileEncoder:
    return TileEncoder(name, **{"quality": None, **options})  # type: ignore[arg-type]


@BOTH
def test_a_stream_finds_what_is_found_in_whole_frames(kind: type, address: str) -> None:
    async def found_async() -> list[StreamResult]:
        async with AsyncDetector(address) as detector, detector.stream(quality=None, score_threshold=0.4) as stream:
            return [await stream.detect(frame) for frame in islice(frames(0), 40)]

    if kind is AsyncDetector:
        results = asyncio.run(found_async())
    else:
        with Detector(address) as detector, detector.stream(quality=None, score_threshold=0.4) as stream:
            results = [stream.detect(frame) for frame in islice(frames(0), 40)]
    assert [result.number for result in results] == list(range(40))
    assert {result.reused for result in results} == {True, False}
    with Detector(address) as detector:
        for result, frame in zip(results, islice(frames(0), 40), strict=True):
            [whole] = detector.detect_frames(frame[None], score_threshold=0.4)
            np.testing.assert_array_equal(result.detections.boxes, whole.boxes)
            np.testing.assert_array_equal(result.detections.scores, whole.scores)


def test_what_is_reused_says_what_it_stands_on(address: str) -> None:
    still = next(frames(1))
    with Detector(address) as detector, detector.stream(key_interval=5) as stream:
        results = [stream.detect(still) for _ in range(8)]
    assert [(result.number, result.found_in, result.age) for result in results] == [
        *((number, 0, number) for number in range(5)),
        (5, 5, 0),
        (6, 5, 1),
        (7, 5, 2),
    ]
    assert [result.nbytes > 0 for result in results] == [not result.reused for result in results]


def test_noise_is_not_sent(address: str) -> None:
    line = Line(2, 640, 480, boards=1, still_frames=60, moving_frames=0, noise=2.0)
    with Detector(address) as detector, detector.stream(link_mbits=100) as stream:
        results = [stream.detect(frame.image) for frame in islice(line, 60)]
    assert all(result.reused for result in results[20:])
    assert stream.encoder.noise == pytest.approx(2.0, rel=0.1)


@BOTH
def test_a_server_that_has_forgotten_a_stream_gets_a_key_frame_of_the_same_frame(kind: type, address: str) -> None:
    async def forgotten() -> None:
        mirror, name = Mirror(), f"forgotten {kind.__name__}"
        async with AsyncDetector(address) as detector, AsyncChangeStream(detector, encoder(name), ASKED) as stream:
            for number, frame in enumerate(islice(frames(2), 40)):
                if number % 7 == 3:
                    await detector.protocol.infer(stream.encoder.forget_request(FORGET))
                mirror.check(await stream.detect(frame), frame)

    if kind is AsyncDetector:
        asyncio.run(forgotten())
        return
    mirror = Mirror()
    with Detector(address) as detector, ChangeStream(detector, encoder("forgotten"), ASKED) as stream:
        for number, frame in enumerate(islice(frames(2), 40)):
            if number % 7 == 3:
                detector.protocol.infer(stream.encoder.forget_request(FORGET))
            mirror.check(stream.detect(frame), frame)
    assert mirror.kinds["raw frame"] + mirror.kinds["coded frame"] >= 4


@pytest.mark.slow
def test_a_server_that_cannot_decode_tiles_gets_pixels(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository, tmp_path / "repository")
    codes = tmp_path / "repository" / "assemble" / "1" / "codes.py"
    codes.write_text(codes.read_text().replace("    import cv2\n", '    raise ImportError("it is not installed")\n'))
    mirror = Mirror()
    with serving(tmp_path / "repository") as server, Detector(grpc(server.addresses)) as detector:
        slow_link = encoder("pixels", link_mbits=1)
        with ChangeStream(detector, slow_link, ASKED) as stream:
            for frame in islice(frames(9), 40):
                mirror.check(stream.detect(frame), frame)
    assert set(mirror.kinds) == {"nothing", "raw tiles", "raw frame"}


def test_two_clients_of_one_name_each_get_what_is_in_their_own_frames(address: str) -> None:
    mirrors, sources = [Mirror(), Mirror()], [frames(3), frames(4)]
    with (
        Detector(address) as detector,
        ChangeStream(detector, encoder("shared"), ASKED) as one,
        ChangeStream(detector, encoder("shared"), ASKED) as other,
    ):
        for _ in range(40):
            for stream, mirror, source in zip((one, other), mirrors, sources, strict=True):
                frame = next(source)
                mirror.check(stream.detect(frame), frame)


@pytest.mark.slow
def test_requests_that_are_lost_doubled_and_late_lead_to_no_wrong_picture(address: str) -> None:
    mirror, failed = Mirror(), 0
    with Detector(address) as detector, ChangeStream(detector, encoder("unreliable"), ASKED) as stream:
        detector.labels("detect_tiles")
        way = detector.protocol = Unreliable(detector.protocol, 5)
        for frame in islice(frames(5), 400):
            try:
                mirror.check(stream.detect(frame), frame)
            except DetectionError as error:
                assert str(error) == "no answer in time"
                failed += 1
                mirror.frame[:] = 0  # the next one is sent whole
        detector.protocol = way.real
    assert min(way.faults[kind] for kind in ("lost", "answer lost", "doubled", "late", "refused")) > 15
    assert sum(mirror.kinds.values()) + failed == 400
    assert mirror.kinds["nothing"] > 20


def killed(repository: Path, times: int) -> Counter[str]:
    """Kill the server of a stream so many times, in the middle of it, and start another at its address."""
    mirror, source, addresses = Mirror(), frames(6), free_addresses()
    seen: Counter[str] = Counter()
    with Detector(grpc(addresses), timeout=20) as detector:
        stream = ChangeStream(detector, encoder("killed"), ASKED)
        for number in range(times):
            with TritonServer(repository, addresses, log=lambda line: None) as server:
                server.wait_until_ready()
                answered, end = 0, time.monotonic() + PATIENCE
                death = threading.Timer(number % 10 / 500, os.kill, (server.running.pid, signal.SIGKILL))
                while time.monotonic() < end:
                    frame = next(source)
                    try:
                        mirror.check(stream.detect(frame), frame)
                        answered += 1
                    except ServerUnavailable:
                        mirror.frame[:] = 0
                        seen["unavailable"] += 1
                        if death.ident is not None:  # it was started, and the server may be dead before another answer
                            break
                        time.sleep(0.02)  # until the connection is back
                    if answered == 6 and death.ident is None:
                        death.start()
                death.join()
                seen["deaths"] += server.running.wait(PATIENCE) == -signal.SIGKILL
                seen["answered"] += answered
    return seen


def test_a_server_that_is_killed_in_the_middle_of_a_stream_leads_to_no_wrong_picture(repository: Path) -> None:
    seen = killed(repository, 3)
    assert seen["deaths"] == 3
    assert seen["answered"] >= 18


@pytest.mark.slow
@pytest.mark.long
def test_a_server_that_is_killed_a_hundred_times_leads_to_no_wrong_picture(repository: Path) -> None:
    seen = killed(repository, 100)
    assert seen["deaths"] == 100
    assert seen["answered"] >= 600


def test_a_task_that_is_cancelled_in_a_request_leaves_the_stream_usable(address: str) -> None:
    async def cancelled() -> Counter[str]:
        mirror = Mirror()
        async with (
            AsyncDetector(address) as detector,
            AsyncChangeStream(detector, encoder("cancelled"), ASKED) as stream,
        ):
            for number, frame in enumerate(islice(frames(7), 60)):
                task = asyncio.ensure_future(stream.detect(frame))
                if number % 3 == 2:
                    await asyncio.sleep(0.002 * (number % 9))
                    if task.cancel():
                        await asyncio.wait([task])
                if task.cancelled():
                    mirror.kinds["cancelled"] += 1
                    mirror.frame[:] = 0
                else:
                    mirror.check(await task, frame)
        return mirror.kinds

    assert asyncio.run(cancelled())["cancelled"] >= 5


@BOTH
def test_a_stream_that_is_closed_is_forgotten_and_says_so(kind: type, address: str) -> None:
    frame, words = next(frames(8)), "this stream has been closed"

    async def close() -> None:
        async with AsyncDetector(address) as detector:
            stream = detector.stream("closed")
            await stream.detect(frame)
            await stream.close()
            await stream.close()
            with pytest.raises(DetectionError, match=words):
                await stream.detect(frame)

    if kind is AsyncDetector:
        asyncio.run(close())
        return
    with Detector(address) as detector:
        stream = detector.stream("closed")
        stream.detect(frame)
        stream.close()
        stream.close()
        with pytest.raises(DetectionError, match=words):
            stream.detect(frame)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda detector: detector.stream(side=20), "side must be a multiple of 16"),
        (lambda detector: detector.stream(score_threshold=2), "score_threshold must be a number from 0 to 1"),
        (lambda detector: detector.stream("x" * 300), "1 to 256 bytes"),
    ],
    ids=["side", "threshold", "name"],
)
@BOTH
def test_arguments_that_are_out_of_range_are_refused_at_once(
    kind: type, use: Callable[[object], object], words: str
) -> None:
    with pytest.raises(DetectionError, match=words):
        use(kind())
