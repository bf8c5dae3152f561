"""Triton Python model that runs the served graph with OpenVINO on the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import triton_python_backend_utils as pb_utils
from graph import read_graph


class TritonPythonModel:
    """Letterboxed pixels to candidate boxes."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compile the graph for one image twice: all cores on one image, and a core for each of several.

        A batch runs as single images side by side: no padding to a batch size, and the same result alone and in any
        batch.
        """
        core = ov.Core()
        graph = read_graph(core, Path(args["model_repository"], args["model_version"], "model.onnx"))
        self.cores = len(os.sched_getaffinity(0))
        self.alone, self.together = (
            ov.AsyncInferQueue(core.compile_model(graph, "CPU", _options(self.cores, streams)), streams)
            for streams in (1, self.cores)
        )
        for queue in (self.alone, self.together):
            queue.set_callback(_store)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run the images of all requests; few for the cores go one after the other, each on all cores."""
        batches = [pb_utils.get_input_tensor_by_name(request, "images").as_numpy() for request in requests]
        queue = self.alone if sum(map(len, batches)) < self.cores else self.together
        results: list[dict[int, np.ndarray]] = [{} for _ in batches]
        for batch, result in zip(batches, results, strict=True):
            for i in range(len(batch)):
                queue.start_async({0: ov.Tensor(batch[i : i + 1], shared_memory=True)}, (result, i))
        queue.wait_all()
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("candidates", np.concatenate([result[i] for i in sorted(result)]))]
            )
            for result in results
        ]


def _options(cores: int, streams: int) -> dict[str, Any]:
    # Left to itself OpenVINO takes bfloat16 where the processor has it, and boxes move by pixels.
    return {"INFERENCE_NUM_THREADS": cores, "NUM_STREAMS": streams, "INFERENCE_PRECISION_HINT": "f32"}


def _store(request: ov.InferRequest, where: tuple[dict[int, np.ndarray], int]) -> None:
    result, i = where
    result[i] = request.get_output_tensor(0).data.copy()
