"""Requests are handed over by the models on a CPU, so that Triton's batcher never waits for one to be free."""

from __future__ import annotations

import os
from pathlib import Path

from tests.server.wire import Client, concurrently
from triton_yolo.boards import draw_board
from triton_yolo.server.process import TritonServer

INSIDE, OUTSIDE = "nv_inference_compute_infer_duration_us", "yolo_handover_duration_us"


def test_execute_returns_before_the_answer_and_a_metric_has_the_time_until_then(server: TritonServer) -> None:
    frames = draw_board(1, 1280, 960, "photo").image[None]
    client = Client(server.addresses)
    client.ask("detect_frames", frames=frames)
    before = [client.metric(name) for name in (INSIDE, OUTSIDE)]
    concurrently(lambda number: client.ask("detect_frames", frames=frames), range(12), threads=3)
    after = [client.metric(name) for name in (INSIDE, OUTSIDE)]
    spent = {
        model: [later[model] - earlier[model] for later, earlier in zip(after, before, strict=True)]
        for model in ("preprocess_frames", "yolo")
    }
    inside, outside = spent["yolo"]
    assert outside > 2 * inside, "yolo computes in execute"
    assert spent["preprocess_frames"][1] > 0
    assert "nms" not in after[1]


def test_no_thread_of_the_server_takes_the_core_of_the_one_that_wakes_it(server: TritonServer) -> None:
    threads = [int(task.name) for task in Path(f"/proc/{server.running.pid}/task").iterdir()]
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_BATCH}
