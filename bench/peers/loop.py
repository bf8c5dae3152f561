"""The loop in one process that servers are held against: ``python -m bench.peers.loop``, a process of its own.

It reads what it is to do from stdin, and writes what it saw to stdout, both JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench import opencv_letterbox
from bench.in_process import Stages, loops
from bench.memory import resident_bytes
from bench.peers.programs import in_own_process
from bench.processor_time import idle_and_all
from triton_yolo.openvino_graph import answer_of
from triton_yolo.openvino_runtime import ov

ALONE = 5.0  # of the time that a loop runs, a part of so many for images one at a time
OPENCV = "OpenCV ahead of the network"


@dataclass(frozen=True)
class LoopJob:
    """What is to run.

    Attributes:
        repository: model repository.
        arithmetic: what the server's network computes in.
        files: JPEGs.
        seconds: length of each loop.
        name: of the loop; the empty name stands for all.
    """

    repository: str
    arithmetic: str
    files: Sequence[str]
    seconds: float
    name: str = ""


def looped(job: LoopJob) -> dict[str, Any]:
    """Run loops in a process of their own; return what it saw: ``loops`` by name, and ``one_at_a_time``.

    Raises:
        BenchError: with what the process said.
    """
    content: dict[str, Any] = in_own_process("bench.peers.loop", job, "the loop in one process")
    return content


def run(job: LoopJob) -> dict[str, Any]:
    """Run loops in this process."""
    images = [np.fromfile(file, np.uint8) for file in job.files]
    repository = Path(job.repository)
    stages = Stages(repository, job.arithmetic)
    seen = {}
    for name, loop in _loops(stages, repository, images, job.arithmetic):
        if job.name in ("", name):
            loop(1)  # the first second compiles and fills caches
            seen[name] = _measured(loop, job.seconds)
    return {"loops": seen, "one_at_a_time": _alone(stages, images, job.seconds / ALONE)}


def _loops(
    stages: Stages, repository: Path, images: Sequence[np.ndarray], arithmetic: str
) -> Iterator[tuple[str, Callable[[float], float]]]:
    yield from loops(repository, images, arithmetic)
    yield OPENCV, opencv_ahead(stages, [image.tobytes() for image in images])


def opencv_ahead(stages: Stages, images: Sequence[bytes]) -> Callable[[float], float]:
    """Return decoding with OpenCV in a thread a core, ahead of the network's queue; images a second."""
    infer = ov.AsyncInferQueue(stages.network(stages.cores, stages.cores), stages.cores)
    infer.set_callback(lambda request, kept: stages.detect(answer_of(request), kept[1]))
    letterbox = stages.served.letterbox

    def prepare(image: bytes) -> tuple[np.ndarray, np.ndarray]:
        return opencv_letterbox.letterboxed(opencv_letterbox.decoded(image), letterbox)

    def run(seconds: float) -> float:
        cv2.setNumThreads(1)
        start, done = time.perf_counter(), 0
        ahead: queue.Queue[Any] = queue.Queue(2 * stages.cores)

        def submit() -> None:
            with ThreadPoolExecutor(stages.cores) as pool:
                for image in itertools.cycle(images):
                    if time.perf_counter() - start >= seconds:
                        break
                    ahead.put(pool.submit(prepare, image))
            ahead.put(None)

        thread = threading.Thread(target=submit)
        thread.start()
        while (future := ahead.get()) is not None:
            pixels, size = future.result()
            infer.start_async({0: ov.Tensor(pixels[None], shared_memory=True)}, (pixels, size))
            done += 1
        infer.wait_all()
        thread.join()
        return done / (time.perf_counter() - start)

    return run


def _measured(loop: Callable[[float], float], seconds: float) -> dict[str, float]:
    start, spent, (idle, ticks) = time.perf_counter(), time.process_time(), idle_and_all()
    speed = loop(seconds)
    images = speed * (time.perf_counter() - start)
    idle_now, ticks_now = idle_and_all()
    return {
        "images_per_second": round(speed, 2),
        "server_cpu_ms_per_image": round(1e3 * (time.process_time() - spent) / images, 2),
        "idle_share": round((idle_now - idle) / max(1, ticks_now - ticks), 3),
        "resident_bytes": resident_bytes(os.getpid()),
    }


def _alone(stages: Stages, images: Sequence[np.ndarray], seconds: float) -> dict[str, float]:
    """Return latency of one image at a time, all cores on it."""
    decoder = stages.decoder(stages.cores)
    request = stages.network(1, stages.cores).create_infer_request()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    for image in itertools.cycle(images):
        start = time.perf_counter()
        if start >= end:
            break
        (pixels,), (size,) = stages.decode(decoder, [image])
        request.infer({0: ov.Tensor(pixels[None], shared_memory=True)}, share_outputs=True)
        stages.detect(answer_of(request), size)
        taken.append(1e3 * (time.perf_counter() - start))
    steady = taken[len(taken) // 5 :]  # without the first: caches
    p50, p99 = np.percentile(steady, (50, 99))
    return {
        "images_per_second": round(1e3 / float(np.mean(steady)), 2),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
    }


def main() -> None:
    """Run the loops that stdin tells."""
    json.dump(run(LoopJob(**json.load(sys.stdin))), sys.stdout)


if __name__ == "__main__":
    main()
