"""One server uses one GPU of several, and nothing of the others."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.gpu.comparing import OVERLAP, SCORE, THRESHOLD, Ask, assert_close, fixed
from tests.gpu.conftest import SECONDS
from triton_yolo.boards import draw_board
from triton_yolo.clients import DetectionError, Detections, Detector
from triton_yolo.server.gpu_selection import Gpu, _gpus
from triton_yolo.server.process import TritonServer, free_addresses

pytestmark = pytest.mark.gpu

REQUESTS, IN_FLIGHT = 5000, 8


@pytest.fixture(scope="module")
def gpus(gpu: int) -> list[Gpu]:
    found = _gpus()
    if len(found) < 2:
        pytest.skip("this machine has one GPU")
    return found


@pytest.fixture(scope="module", params=[0, 1], ids=["GPU 0", "GPU 1"])
def served(request: pytest.FixtureRequest, gpus: list[Gpu]) -> Iterator[tuple[TritonServer, Gpu, int]]:
    """A server on one of two GPUs, which it is told by number or by UUID; and the memory in use on the other before."""
    mine, other = gpus[request.param], gpus[1 - request.param]
    before = used(other)
    wanted = str(mine.number) if request.param == 0 else mine.uuid
    with TritonServer(REPOSITORY, free_addresses(), lambda line: None, "gpu", gpu=wanted) as running:
        running.wait_until_ready(SECONDS)
        yield running, mine, before


def used(gpu: Gpu) -> int:
    """Memory in use on a GPU, in MiB, by all processes."""
    query = ["nvidia-smi", f"--id={gpu.uuid}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(query, capture_output=True, text=True, check=True).stdout)


def _detect(detector: Detector, frames: np.ndarray, iou_threshold: float = OVERLAP) -> Detections:
    [found] = detector.detect_frames(frames, score_threshold=THRESHOLD - SCORE, iou_threshold=iou_threshold)
    return found


def boards() -> np.ndarray:
    """Eight boards, uint8 [8, 480, 640, 3]."""
    return np.stack([draw_board(seed, 640, 480, look="photo").image for seed in range(8)])


def test_no_answer_differs_under_load_and_the_other_gpu_is_untouched(
    served: tuple[TritonServer, Gpu, int], gpus: list[Gpu]
) -> None:
    server, mine, before = served
    pictures = boards()
    with Detector(f"127.0.0.1:{server.addresses.grpc}") as detector:

        def ask(number: int) -> Ask:
            """Detections of one board, slightly below the threshold too."""
            return partial(_detect, detector, pictures[number % 8][None])

        alone = [ask(number)() for number in range(8)]

        def differs(number: int) -> bool:
            try:
                assert_close(fixed(alone[number % 8]), ask(number))
            except AssertionError:
                return True
            return False

        assert sum(map(len, alone)) > 8
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            assert sum(pool.map(differs, range(REQUESTS))) == 0
    other = next(gpu for gpu in gpus if gpu.uuid != mine.uuid)
    assert used(other) - before < 16, "MiB; a CUDA context alone takes hundreds"
    assert used(mine) > 1000


def test_frames_on_the_servers_gpu_are_taken_whatever_their_clients_number_for_it(
    served: tuple[TritonServer, Gpu, int],
) -> None:
    """GPU 1 of the client is the only one that the server sees, its number 0."""
    from cuda.bindings import runtime

    server, mine, _ = served
    pictures = boards()
    url = f"127.0.0.1:{server.addresses.grpc}"
    with Detector(url) as plain:
        expected = plain.detect_frames(pictures)
    runtime.cudaSetDevice(mine.number)
    try:
        with Detector(url, memory="cuda") as detector:
            found = detector.detect_frames(pictures)
    finally:
        runtime.cudaSetDevice(0)
    assert [len(one) for one in found] == [len(one) for one in expected]


def test_frames_on_another_gpu_are_refused_with_both_named(
    served: tuple[TritonServer, Gpu, int], gpus: list[Gpu]
) -> None:
    from cuda.bindings import runtime

    server, mine, _ = served
    other = next(gpu for gpu in gpus if gpu.uuid != mine.uuid)
    runtime.cudaSetDevice(other.number)
    try:
        with (
            Detector(f"127.0.0.1:{server.addresses.grpc}", memory="cuda") as detector,
            pytest.raises(DetectionError, match=rf"{other.uuid}.* the server uses {mine.uuid}: .*--gpu {other.uuid}"),
        ):
            detector.frames(1, 64, 64)
    finally:
        runtime.cudaSetDevice(0)
