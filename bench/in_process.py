"""The same stages without a server: the upper bound that serving is compared with."""

from __future__ import annotations

import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from triton_yolo.dali_definition import DEFINITION, load_definition
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.graphs.quantisers import without_quantisers
from triton_yolo.nms.detections import detections
from triton_yolo.openvino_graph import answer_of, read_graph
from triton_yolo.openvino_runtime import core, ov
from triton_yolo.repository import GRAPH_PATH, read_served_model
from triton_yolo.server.runtimes.dali.opencv_pipeline import OpenCvPipeline, is_known


class Stages:
    """Decode and letterbox, network, NMS: the repository's own definitions, called directly."""

    def __init__(self, repository: Path, arithmetic: str = "int8") -> None:
        """Load what the server would serve from ``repository``.

        Args:
            repository: model repository.
            arithmetic: what the network computes in there, as the server has proved it; a float graph has no choice.
        """
        self.cores = len(os.sched_getaffinity(0))
        self._definition = repository / "preprocess" / "1" / DEFINITION
        self.served = read_served_model(repository)
        path = repository / GRAPH_PATH
        if arithmetic == "int8":
            self.graph = read_graph(path)
        else:
            self.graph = read_graph(without_quantisers(read_network(path)).SerializeToString())
        self.compile: Callable[..., Any] = core.compile_model

    def decoder(self, threads: int) -> Any:
        """Return what decodes on the CPU in the server."""
        if is_known("preprocess", self._definition):
            return OpenCvPipeline("preprocess", self._definition, threads)
        from triton_yolo.server.runtimes.dali.cpu_pipeline import CpuPipeline

        return CpuPipeline(load_definition(self._definition).preprocess, ["image"])

    def network(self, streams: int, threads: int) -> Any:
        """Return the compiled graph; one image an inference."""
        options = {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        return self.compile(self.graph, "CPU", options)

    def decode(self, pipeline: Any, images: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return JPEG bytes to ``images`` [3, S, S] and ``image_size`` [2], a list entry an image."""
        answers = pipeline.run([(image,) for image in images])
        return [pixels for pixels, _ in answers], [size for _, size in answers]

    def detect(self, candidates: np.ndarray, size: np.ndarray) -> Any:
        """Return candidates [1, K, 6] of one image to its detections."""
        served = self.served
        return detections(candidates, size[None], served.thresholds, served.max_detections, served.letterbox)


def batches(stages: Stages, images: Sequence[np.ndarray], batch: int) -> Callable[[float], int]:
    """Return stage after stage over a batch, every stage on all cores."""
    pipeline = stages.decoder(stages.cores)
    infer = ov.AsyncInferQueue(stages.network(stages.cores, stages.cores), stages.cores)
    # A request reads its pixels where they are, so they go along with it.
    infer.set_callback(lambda request, kept: stages.detect(answer_of(request), kept[1]))

    def run(seconds: float) -> int:
        endless, done, end = itertools.cycle(images), 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            pixels, sizes = stages.decode(pipeline, list(itertools.islice(endless, batch)))
            for image, size in zip(pixels, sizes, strict=True):
                infer.start_async({0: ov.Tensor(image[None], shared_memory=True)}, (image, size))
            infer.wait_all()
            done += batch
        return done

    return run


def workers(stages: Stages, images: Sequence[np.ndarray]) -> Callable[[float], int]:
    """Return one thread a core, each takes an image through all stages on its own."""
    network = stages.network(stages.cores, stages.cores)
    kits = [(stages.decoder(1), network.create_infer_request()) for _ in range(stages.cores)]

    def run(seconds: float) -> int:
        counts, end = [0] * stages.cores, time.perf_counter() + seconds

        def work(number: int) -> None:
            pipeline, request = kits[number]
            for image in itertools.islice(itertools.cycle(images), number, None):
                if time.perf_counter() >= end:
                    return
                (pixels,), (size,) = stages.decode(pipeline, [image])
                request.infer({0: ov.Tensor(pixels[None], shared_memory=True)}, share_outputs=True)
                stages.detect(answer_of(request), size)
                counts[number] += 1

        threads = [threading.Thread(target=work, args=(n,)) for n in range(stages.cores)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts)

    return run


def pipelined(stages: Stages, images: Sequence[np.ndarray]) -> Callable[[float], int]:
    """Return decoding in one thread, ahead of the network in another, with a short queue between."""
    pipeline = stages.decoder(stages.cores)
    infer = ov.AsyncInferQueue(stages.network(stages.cores, stages.cores), stages.cores)
    # A request reads its pixels where they are, so they go along with it.
    infer.set_callback(lambda request, kept: stages.detect(answer_of(request), kept[1]))

    def run(seconds: float) -> int:
        decoded: queue.Queue[Any] = queue.Queue(2)
        end, done = time.perf_counter() + seconds, 0

        def decode() -> None:
            endless = itertools.cycle(images)
            while time.perf_counter() < end:
                decoded.put(stages.decode(pipeline, list(itertools.islice(endless, stages.cores))))
            decoded.put(None)

        thread = threading.Thread(target=decode)
        thread.start()
        while (item := decoded.get()) is not None:
            for image, size in zip(*item, strict=True):
                infer.start_async({0: ov.Tensor(image[None], shared_memory=True)}, (image, size))
                done += 1
        infer.wait_all()
        thread.join()
        return done

    return run


def loops(
    repository: Path, images: Sequence[np.ndarray], arithmetic: str = "int8"
) -> Iterator[tuple[str, Callable[[float], float]]]:
    """Return every way to write the loop that was thought of; the best of them is what serving is held against.

    Args:
        repository: model repository with the served graph.
        images: encoded images, uint8 [n] each.
        arithmetic: of Stages.

    Yields:
        a name, and a function that runs the loop for some seconds and returns images a second.
    """
    stages = Stages(repository, arithmetic)
    for name, loop in _all(stages, images):
        yield name, partial(_speed, loop)


def _all(stages: Stages, images: Sequence[np.ndarray]) -> Iterator[tuple[str, Callable[[float], int]]]:
    yield "one thread a core, each all stages", workers(stages, images)
    yield f"batches of {stages.cores}, stage after stage", batches(stages, images, stages.cores)
    yield "batches of 8, stage after stage", batches(stages, images, 8)
    yield "decoding ahead of the network", pipelined(stages, images)


def _speed(loop: Callable[[float], int], seconds: float) -> float:
    """Return images a second over what the loop really took: it ends with the batch that it is at."""
    start = time.perf_counter()
    return loop(seconds) / (time.perf_counter() - start)
