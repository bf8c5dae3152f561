"""Tiles that changed, assembled beside a network on a GPU."""

from __future__ import annotations

import numpy as np
import pytest

from tests.gpu.comparing import assert_close, fixed
from triton_yolo.boards import draw_board
from triton_yolo.clients import Detector
from triton_yolo.server.process import TritonServer

pytestmark = pytest.mark.gpu


def test_what_changed_gives_the_detections_of_whole_frames(float_gpu_server: TritonServer) -> None:
    url = f"127.0.0.1:{float_gpu_server.addresses.grpc}"
    boards = [draw_board(seed, 1280, 960, "photo").image for seed in (3, 4)]
    mixed = boards[0].copy()
    mixed[256:512, 320:640] = boards[1][256:512, 320:640]
    frames = [boards[0], boards[0], mixed, boards[1], boards[1][:480], boards[0]]  # one has another size

    with Detector(url) as detector, detector.stream(quality=None) as stream:
        for number, frame in enumerate(frames):
            found = stream.detect(frame)
            [whole] = detector.detect_frames(np.ascontiguousarray(frame)[None])
            assert found.number == number
            assert len(found.detections) > 3
            assert_close(fixed(found.detections), fixed(whole))
