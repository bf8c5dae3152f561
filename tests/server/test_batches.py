"""An image's answer is the same to the last bit alone, beside others, and in one request with others."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.server.pictures import jpeg, picture, png
from tests.server.wire import Answer, Client, concurrently, refusal, same


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    sizes = [(480, 640), (97, 131), (960, 1280), (640, 640), (1, 1), (333, 777)] * 4
    return [(jpeg if seed % 2 else png)(picture(seed, *size)) for seed, size in enumerate(sizes)]


def seconds_inside(client: Client) -> float:
    """How long the requests of the network have been inside it so far, all together."""
    return client.metric("yolo_handover_duration_us")["yolo"] / 1e6


@pytest.mark.slow
def test_the_default_network_answers_alone_as_beside_others(default: Client, images: list[bytes]) -> None:
    """At a score threshold of 0 every network finds boxes on every image."""

    def detect(image: bytes) -> Answer:
        return default.detect(image, score_threshold=0)

    alone = [detect(image) for image in images]
    before, begin = seconds_inside(default), time.monotonic()
    together = concurrently(detect, images * 4, threads=24)
    assert seconds_inside(default) - before > 2 * (time.monotonic() - begin), (
        "none ran beside others: this shows nothing"
    )
    assert all(same(answer, alone[i % len(images)]) for i, answer in enumerate(together))


def test_frames_answer_alone_as_in_one_request(default: Client) -> None:
    frames = np.stack([picture(seed, 480, 640) for seed in range(8)])
    together = default.detect_frames(frames, score_threshold=0)
    for i, frame in enumerate(frames):
        alone = default.detect_frames(frame[None], score_threshold=0)
        assert alone["num_detections"][0, 0] > 0
        assert same(alone, {name: array[i : i + 1] for name, array in together.items()})


def test_a_full_batch_of_32_frames_is_answered_and_33_are_refused(cells: Client) -> None:
    frames = np.stack([picture(seed, 48, 64) for seed in range(33)])
    assert cells.detect_frames(frames[:32])["num_detections"].shape == (32, 1)
    assert "batch-size must be <= 32" in refusal(lambda: cells.detect_frames(frames))


def test_encoded_images_of_one_length_share_a_request(cells: Client) -> None:
    images = [jpeg(picture(seed, 480, 640)) for seed in range(4)]
    longest = max(map(len, images))
    padded = np.stack([np.frombuffer(image.ljust(longest, b"\0"), np.uint8) for image in images])
    together = cells.ask("detect", {"score_threshold": 0.4}, image=padded)
    for i, image in enumerate(images):
        alone = cells.detect(image, score_threshold=0.4)
        assert same(alone, {name: array[i : i + 1] for name, array in together.items()})
