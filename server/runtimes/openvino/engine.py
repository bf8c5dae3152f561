"""A served graph on the CPU, compiled by OpenVINO."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triton_yolo.openvino_runtime import ov
from triton_yolo.server.runtimes.openvino.graph import read_graph

Images = npt.NDArray[np.uint8]  # [N, 3, H, W]


class Engine:
    """The graph compiled for one image twice: all cores on one image, and a core for each of several.

    A batch runs as single images side by side: no padding to a batch size, and the same result alone and in any batch.
    """

    def __init__(self, path: Path) -> None:
        """Read the graph; each half is compiled when it is first used.

        Args:
            path: of the ONNX file.
        """
        self.cores = len(os.sched_getaffinity(0))
        self._core = ov.Core()
        self._graph = read_graph(self._core, path)

    @cached_property
    def alone(self) -> ov.AsyncInferQueue:
        """The queue that runs one image at a time, on all cores."""
        return self._queue(1)

    @cached_property
    def together(self) -> ov.AsyncInferQueue:
        """The queue that runs as many images at a time as there are cores."""
        return self._queue(self.cores)

    def _queue(self, streams: int) -> ov.AsyncInferQueue:
        # Left to itself OpenVINO takes bfloat16 where the processor has it, and boxes move by pixels.
        options = {"INFERENCE_NUM_THREADS": self.cores, "NUM_STREAMS": streams, "INFERENCE_PRECISION_HINT": "f32"}
        queue = ov.AsyncInferQueue(self._core.compile_model(self._graph, "CPU", options), streams)
        queue.set_callback(_store)
        return queue

    def run(self, batches: Sequence[Images]) -> list[npt.NDArray[np.float32]]:
        """Run the images of some requests; few for the cores go one after the other, each on all cores.

        Args:
            batches: of each request.

        Returns:
            float32 [N, K, 6] of each, the candidates.
        """
        return self._run(self.alone if sum(map(len, batches)) < self.cores else self.together, batches)

    def ways(self) -> Iterator[Callable[[Images], npt.NDArray[np.float32]]]:
        """Yield the ways in which images may be run, for the proof: images to candidates float32 [N, K, 6]."""
        for name in ("alone", "together"):
            queue = getattr(self, name)  # is compiled here
            yield partial(self._one, queue)

    def _one(self, queue: ov.AsyncInferQueue, images: Images) -> npt.NDArray[np.float32]:
        return self._run(queue, [images])[0]

    def _run(self, queue: ov.AsyncInferQueue, batches: Sequence[Images]) -> list[npt.NDArray[np.float32]]:
        results: list[dict[int, Any]] = [{} for _ in batches]
        for batch, result in zip(batches, results, strict=True):
            for i in range(len(batch)):
                queue.start_async({0: ov.Tensor(batch[i : i + 1], shared_memory=True)}, (result, i))
        queue.wait_all()
        return [np.concatenate([result[i] for i in sorted(result)]) for result in results]


def _store(request: ov.InferRequest, where: tuple[dict[int, Any], int]) -> None:
    result, i = where
    result[i] = request.get_output_tensor(0).data.copy()
