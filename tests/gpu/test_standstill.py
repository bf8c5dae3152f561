"""The Python models that stand in for DALI and TensorRT on a GPU answer no more once they stood still."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from tests.conftest import REPOSITORY
from tests.gpu.conftest import SECONDS
from tests.server.pictures import jpeg
from tests.server.processes import stubs
from tests.server.test_standstill import STOPS, ends_within
from triton_yolo.boards import draw_board
from triton_yolo.clients import DetectionError, Detector
from triton_yolo.server.process import TritonServer, free_addresses

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("model", ["preprocess", "yolo"])
def test_a_process_that_stood_still_ends(gpu: int, model: str) -> None:
    image, done = jpeg(draw_board(1, 1280, 960, "photo").image), threading.Event()
    with TritonServer(REPOSITORY, free_addresses(), lambda line: None, "gpu") as server:
        server.wait_until_ready(SECONDS)
        [stub] = [p for p in stubs(server.running.pid) if any(f"/{model}/" in part for part in p.cmdline())]

        def ask() -> None:
            with Detector(f"{server.addresses.host}:{server.addresses.grpc}") as detector:
                while not done.is_set():
                    try:
                        detector.detect(image)
                    except DetectionError:
                        time.sleep(0.1)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            for _ in range(STOPS):
                stub.send_signal(signal.SIGSTOP)
                time.sleep(2)
                stub.send_signal(signal.SIGCONT)
                if ended := ends_within(3, server):
                    break
        finally:
            done.set()
            server.kill()
            asking.join()
    assert ended, "the process answers although it stood still"
