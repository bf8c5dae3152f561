"""A server that has answered many requests, good or bad, holds no more memory than one that has answered few."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.pictures import jpeg, picture, png
from tests.server.processes import descriptors, resident
from tests.server.test_bad_images import flipped
from tests.server.wire import Client, concurrently
from tests.support.servers import serving
from triton_yolo.server.process import TritonServer

pytestmark = pytest.mark.slow

IMAGES = [jpeg(picture(seed, 240, 320)) for seed in range(8)] + [jpeg(picture(8, 960, 1280))]
LARGE = picture(0, 600, 800)  # 1.4 MB decoded


def damaged_in_its_scan(encoded: bytes, inserted: bytes) -> bytes:
    """The same JPEG with something in the middle of its first scan."""
    at = encoded.index(b"\xff\xda") + 1000
    return encoded[:at] + inserted + encoded[at:]


@pytest.mark.long
def test_five_thousand_requests_need_no_more_memory_than_five_hundred(fresh: TritonServer) -> None:
    client = Client(fresh.addresses)

    def detect(i: int) -> None:
        client.detect(IMAGES[i % len(IMAGES)])

    concurrently(detect, range(500), threads=4)
    memory, opened = resident(fresh), descriptors(fresh)
    concurrently(detect, range(500, 5000), threads=4)
    assert resident(fresh) <= 1.05 * memory
    assert descriptors(fresh) <= opened + 4


@pytest.fixture(scope="module")
def patient(cells_repository: Path) -> Iterator[TritonServer]:
    """One server for all images that fail: each is counted from where the one before has left it."""
    with serving(cells_repository) as running:
        yield running


@pytest.mark.parametrize(
    "image",
    [
        jpeg(LARGE)[:-5000],  # the decoder loses its output where the data runs out
        damaged_in_its_scan(jpeg(LARGE), b"\xff\xf4"),  # and where a strange marker ends the scan
        damaged_in_its_scan(jpeg(LARGE), b"\xff\xdd\x00\x09"),
        damaged_in_its_scan(jpeg(LARGE, progressive=True), b"\xff\xf4"),  # fails inside the decoder
        flipped(png(LARGE), 500_000),  # the same for PNG
    ],
    ids=["cut", "marker", "restart interval", "progressive", "PNG"],
)
def test_an_image_that_fails_again_and_again_leaves_no_memory_behind(patient: TritonServer, image: bytes) -> None:
    """A decoder that loses its output each time would take 430 MB."""
    client = Client(patient.addresses)
    for _ in range(50):
        client.refusal(image)
    memory = resident(patient)
    for _ in range(300):
        client.refusal(image)
    assert resident(patient) - memory < 40e6
