"""A served graph on the CPU, compiled by OpenVINO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from triton_yolo.cores import usable_cores
from triton_yolo.openvino_graph import answer_of, read_graph
from triton_yolo.openvino_runtime import core, ov
from triton_yolo.server.runtimes.openvino.workers import Candidates, Images, Run, Workers


class Engine:
    """The graph compiled for one image twice: all cores on one image, and a core for each of several.

    A batch runs as single images side by side: no padding to a batch size, and the same result alone and in any batch.
    """

    def __init__(self, path: Path) -> None:
        """Prepare; the graph is read and compiled when it is first used.

        Args:
            path: of the ONNX file.
        """
        self.cores = usable_cores()
        self._path = path

    @cached_property
    def alone(self) -> Run:
        """Runs one image on all cores."""
        return partial(_run, self._for_one.create_infer_request())

    @cached_property
    def together(self) -> Sequence[Run]:
        """One for each core: each runs one image on one core."""
        # From what was compiled already: a quarter of the time, and the same answers.
        compiled = core.import_model(self._for_one.export_model(), "CPU", self._options(self.cores))
        return [partial(_run, compiled.create_infer_request()) for _ in range(self.cores)]

    @cached_property
    def _for_one(self) -> Any:
        return core.compile_model(read_graph(self._path), "CPU", self._options(1))

    def _options(self, streams: int) -> dict[str, Any]:
        # Left to itself OpenVINO takes bfloat16 where the processor has it, and boxes move by pixels.
        return {"INFERENCE_NUM_THREADS": self.cores, "NUM_STREAMS": streams, "INFERENCE_PRECISION_HINT": "f32"}

    def workers(self) -> Workers:
        """Start the threads that run images."""
        return Workers(self.alone, self.together)

    def ways(self) -> Iterator[Run]:
        """Yield the ways in which images may be run, for the proof: images to candidates."""
        yield partial(_run_all, self.alone)
        yield partial(_run_all, self.together[0])


def _run_all(run: Run, images: Images) -> Candidates:
    return np.concatenate([run(images[i : i + 1]) for i in range(len(images))])


def _run(request: Any, image: Images) -> Candidates:
    request.infer({0: ov.Tensor(image, shared_memory=True)})
    return np.array(answer_of(request))  # the next image goes to the same memory
