"""All GPUs behind one address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bench.fleet import figures, fleet
from tests.conftest import REPOSITORY
from tests.gpu.comparing import OVERLAP, SCORE, THRESHOLD, Ask, assert_close, fixed
from tests.gpu.test_two_gpus import boards
from triton_yolo.clients import DetectionError, Detections, Detector
from triton_yolo.server.fleet.fleet import Fleet
from triton_yolo.server.fleet.parts import Part
from triton_yolo.server.gpu_selection import Gpu, _gpus, find_gpus

pytestmark = pytest.mark.gpu

REQUESTS, IN_FLIGHT = 2000, 16
DONE = r'^nv_inference_request_success\{server="\d",model="detect_frames",version="1"\} (\d+)'


@pytest.fixture(scope="module")
def gpus(gpu: int) -> list[Gpu]:
    if len(_gpus()) < 2:
        pytest.skip("this machine has one GPU")
    return find_gpus("all")


@pytest.fixture(scope="module")
def every(gpus: list[Gpu]) -> Iterator[Fleet]:
    with fleet([Part(gpu=one) for one in gpus], REPOSITORY, "gpu") as running:
        yield running


def _ask(detector: Detector, frames: np.ndarray) -> Ask:
    def ask(iou_threshold: float = OVERLAP) -> Detections:
        [found] = detector.detect_frames(frames[None], score_threshold=THRESHOLD - SCORE, iou_threshold=iou_threshold)
        return found

    return ask


def test_all_gpus_answer_alike_under_load(every: Fleet, gpus: list[Gpu]) -> None:
    pictures = boards()
    with Detector(every.members[0].grpc) as one, Detector(f"127.0.0.1:{every.addresses.grpc}") as all_:
        alone = [_ask(one, picture)() for picture in pictures]

        def right(number: int) -> bool:
            assert_close(fixed(alone[number % 8]), _ask(all_, pictures[number % 8]))
            return True

        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            assert all(pool.map(right, range(REQUESTS)))
    done = re.findall(DONE, every.metrics(), re.MULTILINE)
    assert len(done) == len(gpus)
    assert all(int(count) > REQUESTS / len(gpus) / 2 for count in done)


def test_each_server_has_a_gpu_of_its_own(every: Fleet, gpus: list[Gpu]) -> None:
    assert [member.server.gpu for member in every.members if member.server] == gpus


def test_frames_on_a_gpu_are_for_its_own_server(every: Fleet) -> None:
    url = f"127.0.0.1:{every.addresses.grpc}"
    with Detector(url, memory="cuda") as detector, pytest.raises(DetectionError, match=r"connect to|the server uses"):
        for _ in range(len(every.members)):  # which server says what it uses is left to Envoy
            detector.frames(1, 64, 64)


@pytest.mark.slow
def test_two_gpus_do_nearly_twice_what_one_does(every: Fleet, gpus: list[Gpu]) -> None:
    with fleet([Part(gpu=gpus[0])], REPOSITORY, "gpu") as one:
        single = figures(f"127.0.0.1:{one.addresses.grpc}", 1, 10)
    together = figures(f"127.0.0.1:{every.addresses.grpc}", len(gpus), 10)
    times = together["load"]["items_per_second"] / single["load"]["items_per_second"]
    assert times >= 0.95 * len(gpus)
    assert together["alone"]["p50_ms"] <= 1.1 * single["alone"]["p50_ms"]
