"""Decompression bombs: refused, or decoded within the memory of the largest image that is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from tests.faults.bombs import SIDE, bombs, jpeg_of_scans
from tests.faults.neighbours import Neighbours
from tests.server.processes import whole
from tests.server.wire import Client, concurrently
from triton_yolo.clients import DetectionError, Detector
from triton_yolo.clients.stream.tile_request import KEY_POSITION, Content, Place, tile_request
from triton_yolo.cores import usable_cores
from triton_yolo.server.process import TritonServer

# Bytes: the pixels of the largest image for each core, as they are decoded (16 bits and alpha) and as RGB, and copies.
MOST = usable_cores() * SIDE * SIDE * (8 + 2 * 3)


def peak(server: TritonServer) -> int:
    """The most memory that the server's processes have had since they began or were told to forget it (proc(5))."""
    total = 0
    for process in whole(server):
        status = Path(f"/proc/{process.pid}/status").read_text()
        total += 1024 * int(status.partition("VmHWM:")[2].split()[0])
    return total


def forget_peak(server: TritonServer) -> None:
    for process in whole(server):
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")


@pytest.mark.slow
def test_bombs_are_refused_or_cost_no_more_than_the_largest_image(fresh: TritonServer) -> None:
    client, files = Client(fresh.addresses), list(bombs().values())
    processes = [process.pid for process in whole(fresh)]
    with Neighbours(fresh.addresses) as neighbours:

        def send(number: int) -> str:
            if number % 2:
                return neighbours.ask(number)
            image, wanted = files[number // 2 % len(files)]
            try:
                client.detect(image)
                return "decoded" if not wanted else f"decoded, though {wanted}"
            except InferenceServerException as error:
                return "refused" if wanted and wanted in str(error) else str(error)

        forget_peak(fresh)
        before = peak(fresh)
        ends = concurrently(send, range(4 * len(files)), threads=8)
    assert set(ends) == {"right", "decoded", "refused"}, ends
    assert peak(fresh) - before < MOST
    assert [process.pid for process in whole(fresh)] == processes


@pytest.mark.slow
def test_a_bomb_among_tiles_is_refused(fresh: TritonServer) -> None:
    with Detector(f"{fresh.addresses.host}:{fresh.addresses.grpc}") as detector:
        coded = np.frombuffer(jpeg_of_scans(SIDE, 10_000), np.uint8)
        with pytest.raises(DetectionError, match="coded has more than 100 scans"):
            detector.run(tile_request(Place("bomb", 1, 0), Content(KEY_POSITION, coded=coded), {}))
