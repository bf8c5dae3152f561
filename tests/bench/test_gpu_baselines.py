"""What of the GPU's baselines needs no GPU: the pixels that the loop hands to the network."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bench.gpu_baselines import letterboxed
from bench.in_process import Stages
from tests.conftest import REPOSITORY
from tests.server.references import letterbox
from triton_yolo.boards import draw_board


@pytest.mark.parametrize(("width", "height"), [(1280, 960), (333, 777)])
def test_the_loop_decodes_and_letterboxes_as_the_server_does(width: int, height: int) -> None:
    board = draw_board(3, width, height, "photo").image
    image = cv2.imencode(".jpg", cv2.cvtColor(board, cv2.COLOR_RGB2BGR))[1].tobytes()
    pixels, size = letterboxed(Stages(REPOSITORY))(image)
    decoded = cv2.cvtColor(cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert size.tolist() == [height, width]
    assert pixels.flags.c_contiguous
    difference = np.abs(pixels.astype(int) - letterbox(decoded))
    assert difference.max() <= 1
    assert difference.mean() < 0.2
