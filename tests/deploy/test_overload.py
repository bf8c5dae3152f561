"""A full queue refuses; it does not grow."""

from __future__ import annotations

import os
import queue

import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tests.conftest import REPOSITORY
from tests.deploy.conftest import MeasuredServer
from tests.deploy.sending import BOARD, UNAVAILABLE, at_once, image
from triton_yolo.clients import Detector, ServerUnavailable
from triton_yolo.repository import read_config
from triton_yolo.server.runtimes.base import AT_ONCE

pytestmark = pytest.mark.slow

PIPELINES = ["preprocess", "preprocess_bayer", "preprocess_frames", "preprocess_nv12", "preprocess_yuyv"]
STAGES = [*PIPELINES, "yolo"]  # nms gets no more than yolo answers
QUEUE = read_config(REPOSITORY / "preprocess" / "config.pbtxt").dynamic_batching.default_queue_policy.max_queue_size
INSIDE = 2 * (4 * len(os.sched_getaffinity(0)) + AT_ONCE)  # images that preprocess and yolo take out of their queues


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_rejects_instead_of_growing(stage: str) -> None:
    batching = read_config(REPOSITORY / stage / "config.pbtxt").dynamic_batching
    policy = batching.default_queue_policy
    assert 0 < policy.max_queue_size <= 128
    assert policy.timeout_action == policy.REJECT
    assert policy.allow_timeout_override
    assert policy.default_timeout_microseconds, "Triton heeds a request's timeout only below a default"
    assert (batching.priority_levels, batching.default_priority_level) == (2, 2)


def test_what_a_full_queue_cannot_take_is_unavailable_and_the_rest_is_answered(measured: MeasuredServer) -> None:
    ends = at_once(measured.addresses.grpc, 3 * QUEUE + INSIDE)
    assert ends.pop("ok") >= QUEUE
    assert any(end.endswith("Exceeds maximum queue size") for end in ends), "three full queues went into one"
    assert all(end.startswith(UNAVAILABLE) for end in ends)
    with Detector(f"127.0.0.1:{measured.addresses.grpc}") as detector:
        assert len(detector.detect(BOARD)) > 0, "the server answers as before"


def test_a_request_that_waits_longer_than_it_may_is_unavailable(measured: MeasuredServer) -> None:
    ends = at_once(measured.addresses.grpc, QUEUE // 2 + INSIDE, timeout=1000)
    late = [end for end in ends if end.endswith("Request timeout expired")]
    assert late
    assert all(end.startswith(UNAVAILABLE) for end in late)


def test_the_detector_says_so(measured: MeasuredServer) -> None:
    with Detector(f"127.0.0.1:{measured.addresses.grpc}") as detector, pytest.raises(ServerUnavailable):
        for _ in detector.detect_many([BOARD] * (3 * QUEUE + INSIDE), concurrency=3 * QUEUE + INSIDE):
            pass


def test_the_first_priority_goes_before_the_second(measured: MeasuredServer) -> None:
    ends: queue.Queue[int | InferenceServerException] = queue.Queue()

    def send(priority: int) -> None:
        client.async_infer("detect", [image()], lambda result, error: ends.put(error or priority), priority=priority)

    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{measured.addresses.grpc}") as client:
        usual = QUEUE  # all of them fit
        for priority in [2] * usual + [1] * 4:
            send(priority)
        order = [ends.get(timeout=300) for _ in range(usual + 4)]
    assert sorted(map(str, order)) == ["1"] * 4 + ["2"] * usual
    last = max(place for place, priority in enumerate(order) if priority == 1)
    assert last < len(order) - 8, f"sent last, answered {last} of {len(order)}"
