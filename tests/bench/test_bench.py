from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from bench.__main__ import draw_images
from bench.in_process import Stages, loops
from bench.memory import resident_bytes
from bench.perf_analyzer import PerfAnalyzer, read_table, write_data
from bench.stages import Stage, stage_bytes
from tests.conftest import REPOSITORY
from tests.server.cells import copy_with_cells
from triton_yolo.boards import draw_board
from triton_yolo.clients.detector import Detector
from triton_yolo.openvino_graph import answer_of
from triton_yolo.openvino_runtime import ov
from triton_yolo.server.process import TritonServer

pytestmark = pytest.mark.computes


@pytest.fixture(scope="module")
def image() -> bytes:
    board = draw_board(3, 1280, 960, "photo").image
    return cv2.imencode(".jpg", cv2.cvtColor(board, cv2.COLOR_RGB2BGR))[1].tobytes()


def test_the_loop_without_a_server_finds_what_the_server_finds(server: TritonServer, image: bytes) -> None:
    stages = Stages(REPOSITORY, server.proved()["yolo"].arithmetic)
    (pixels,), (size,) = stages.decode(stages.decoder(1), [np.frombuffer(image, np.uint8)])
    request = stages.network(1, 1).create_infer_request()
    request.infer({0: ov.Tensor(pixels[None], shared_memory=True)})
    number, boxes, scores, classes = stages.detect(answer_of(request), size)
    with Detector(f"127.0.0.1:{server.addresses.grpc}") as detector:
        served = detector.detect(image)
    n = number[0, 0]
    assert n == len(served)
    np.testing.assert_allclose(boxes[0, :n], served.boxes, atol=1e-2)
    np.testing.assert_allclose(scores[0, :n], served.scores, atol=1e-4)
    np.testing.assert_array_equal(classes[0, :n], served.classes)


def test_every_loop_without_a_server_finishes_images(image: bytes, tmp_path: Path) -> None:
    images = [np.frombuffer(image, np.uint8)]
    repository = copy_with_cells(REPOSITORY, tmp_path / "repository")  # each loop compiles the network anew
    counts = {name: loop(0.3) for name, loop in loops(repository, images)}
    assert len(counts) == 4
    assert all(counts.values()), counts


@pytest.mark.slow
def test_perf_analyzer_loads_the_server_and_its_table_is_read(
    server: TritonServer, image: bytes, tmp_path: Path
) -> None:
    data, table = tmp_path / "data.json", tmp_path / "table.csv"
    write_data([image], data)
    analyzer = PerfAnalyzer(tmp_path)
    loads = analyzer.run(f"127.0.0.1:{server.addresses.grpc}", "detect", data, "1:2:1", 1, table)
    assert [load.concurrency for load in loads] == [1, 2]
    assert loads == read_table(table)
    for load in loads:
        assert load.throughput > 0
        assert 0 < load.p50 <= load.p90 <= load.p99


def test_stage_bytes_follow_the_contract() -> None:
    assert stage_bytes(REPOSITORY, "detect", {"image": 250_000}) == [
        Stage("preprocess", 250_000, 3 * 640 * 640 + 8),
        Stage("yolo", 3 * 640 * 640, 7_200),
        Stage("nms", 7_200 + 8, 4 + 1600 + 400 + 400),
    ]


def test_resident_bytes_counts_the_stubs_too_and_what_they_share_once(server: TritonServer) -> None:
    family = [psutil.Process(server.running.pid), *psutil.Process(server.running.pid).children(recursive=True)]
    dirty = [sum(page.private_dirty for page in process.memory_maps()) for process in family]
    everything = sum(process.memory_info().rss for process in family)
    assert len(family) == 9
    assert sum(dirty) - max(dirty) > 50e6, "the stubs hold too little to show that they count"
    assert 0.95 * sum(dirty) < resident_bytes(server.running.pid) < everything


def test_the_images_are_decodable_boards_of_the_reference_size() -> None:
    image = cv2.imdecode(np.frombuffer(draw_images(1)[0], np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (960, 1280, 3)
