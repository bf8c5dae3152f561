"""Thousands of damaged images under load: the server neither ends, nor hangs, nor grows."""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest
from tritonclient.utils import InferenceServerException

from tests.server.damage import damaged
from tests.server.pictures import jpeg, picture, png
from tests.server.processes import descriptors, remains, resident, whole
from tests.server.wire import Client, concurrently, same
from triton_yolo.server.process import TritonServer

SOURCES = [
    jpeg(picture(0, 240, 320)),
    jpeg(picture(1, 240, 320), progressive=True),
    jpeg(picture(2, 600, 800), subsampling=0),
    jpeg(picture(3, 600, 800), progressive=True),
    jpeg(picture(4, 97, 131, 1), quality=95),
    png(picture(5, 60, 80)),
]
THOUSAND, THREADS = 1000, 8
DEADLINE = 240  # seconds for all
GROWTH = 40e6  # bytes: buffers for a batch fuller than any before; an output lost with each image would be 400 MB


@pytest.mark.slow
def test_two_thousand_damaged_images_leave_the_server_as_it_was(fresh: TritonServer) -> None:
    client = Client(fresh.addresses)
    sound = jpeg(picture(9, 333, 444))
    wanted = client.detect(sound, score_threshold=0.4)

    def send(seed: int) -> str:
        """How one damaged image is answered; every tenth is sound and must get its own answer."""
        if seed % 10 == 0:
            return "sound" if same(client.detect(sound, score_threshold=0.4), wanted) else "WRONG"
        try:
            client.detect(damaged(SOURCES[seed % len(SOURCES)], seed))
            return "answered"
        except InferenceServerException as error:
            return "refused" if "in ensemble 'detect', image " in str(error) else str(error)

    concurrently(client.detect, SOURCES * THREADS, 2 * THREADS)  # the shared memory grows to what such a load needs
    start = time.monotonic()
    processes, files = [p.pid for p in whole(fresh)], remains(os.getpid())
    first = Counter(concurrently(send, range(THOUSAND), THREADS))
    memory, opened = resident(fresh), descriptors(fresh)
    second = Counter(concurrently(send, range(THOUSAND, 2 * THOUSAND), THREADS))
    grown = resident(fresh) - memory

    for kinds in (first, second):
        assert set(kinds) == {"sound", "answered", "refused"}
        assert min(kinds.values()) >= 100, "too little of one kind to show anything"
    assert time.monotonic() - start < DEADLINE
    assert client.ready()
    assert [p.pid for p in whole(fresh)] == processes
    assert remains(os.getpid()) == files
    assert descriptors(fresh) <= opened + 4
    assert grown < GROWTH, f"grew by {grown / 1e6:.0f} MB from {memory / 1e6:.0f} MB"
