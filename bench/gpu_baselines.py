"""What serving on a GPU is held against: DALI alone, and a loop of OpenCV and ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from bench import opencv_letterbox
from bench.errors import BenchError
from bench.in_process import Stages
from bench.steady import steady
from triton_yolo.dali_definition import load_definition
from triton_yolo.server.runtimes.onnxruntime_cuda.graph import gpu_graph

BATCHES = (32, 128)  # images at a time; the server's largest batch, and more than it takes
BATCH = 32


def decoded(repository: Path, images: Sequence[bytes], seconds: float) -> dict[int, float]:
    """Return images a second that the repository's DALI pipeline takes alone, by batch size; pixels stay on the GPU."""
    from cuda.bindings import runtime

    definition = load_definition(repository / "preprocess/1/dali.py").preprocess
    threads = len(os.sched_getaffinity(0))
    speeds = {}
    for batch in BATCHES:
        pipeline = definition(device="gpu", device_id=0, batch_size=batch, num_threads=threads)
        pipeline.build()
        samples = [np.frombuffer(image, np.uint8) for image in islice(cycle(images), batch)]

        def run(_: int, pipeline: object = pipeline, samples: Sequence[np.ndarray] = samples) -> int:
            pipeline.feed_input("image", samples)  # type: ignore[attr-defined]
            pipeline.run()  # type: ignore[attr-defined]
            runtime.cudaDeviceSynchronize()
            return len(samples)

        speeds[batch] = steady(run, 1, seconds).items_per_second
    return speeds


def opencv_loop(repository: Path, images: Sequence[bytes], seconds: float) -> float:
    """Return images a second of OpenCV on all cores, the network on the GPU, and NMS in NumPy."""
    stages = Stages(repository)
    graph = gpu_graph(repository / "yolo/1/model.onnx").SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    providers = [("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"})]
    onnxruntime.preload_dlls()
    session = onnxruntime.InferenceSession(graph, options, providers=providers)
    if "CUDAExecutionProvider" not in session.get_providers():
        raise BenchError("ONNX Runtime has no CUDA provider here: `make gpu` installs it")
    endless = cycle(images)
    cv2.setNumThreads(1)  # a thread an image
    with ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), 16)) as pool:
        prepare = letterboxed(stages)

        def run(number: int) -> int:
            prepared = list(pool.map(prepare, islice(endless, BATCH)))
            candidates = session.run(None, {"images": np.stack([pixels for pixels, _ in prepared])})[0]
            for rows, (_, size) in zip(candidates, prepared, strict=True):
                stages.detect(rows[None], size)
            return BATCH

        return steady(run, 1, seconds).items_per_second


def letterboxed(stages: Stages) -> Callable[[bytes], tuple[np.ndarray, np.ndarray]]:
    """Return a function from a JPEG to the network's input, uint8 [3, S, S], and the image's size, int32 [2]."""
    letterbox = stages.served.letterbox

    def prepare(image: bytes) -> tuple[np.ndarray, np.ndarray]:
        # The planes are put behind each other here, on all cores; ONNX Runtime would do it on one.
        return opencv_letterbox.letterboxed(opencv_letterbox.decoded(image), letterbox)

    return prepare
