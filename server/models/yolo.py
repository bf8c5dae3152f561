"""Triton Python model that runs the served graph with OpenVINO on the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Letterboxed pixels to candidate boxes."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compile the graph for one image, with one stream a core: a batch runs as parallel single images.

        Single images need no padding to a batch size, and give the same result alone and in any batch.
        """
        path = Path(args["model_repository"], args["model_version"], "model.onnx")
        cores = len(os.sched_getaffinity(0))
        core = ov.Core()
        model = core.read_model(path)
        model.reshape({0: ov.PartialShape([1, *model.input(0).get_partial_shape()[1:]])})
        options = {"INFERENCE_NUM_THREADS": cores, "NUM_STREAMS": cores, "INFERENCE_PRECISION_HINT": "f32"}
        self.queue = ov.AsyncInferQueue(core.compile_model(model, "CPU", options), cores)
        self.queue.set_callback(_store)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run the images of all requests, as many at a time as there are streams."""
        responses = []
        outputs = []
        for request in requests:
            images = pb_utils.get_input_tensor_by_name(request, "images").as_numpy()
            candidates = [np.empty(0, np.float32)] * len(images)
            for i in range(len(images)):
                self.queue.start_async({0: ov.Tensor(images[i : i + 1], shared_memory=True)}, (candidates, i))
            outputs.append(candidates)
        self.queue.wait_all()
        for candidates in outputs:
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("candidates", np.concatenate(candidates))]))
        return responses


def _store(request: ov.InferRequest, where: tuple[list[np.ndarray], int]) -> None:
    candidates, i = where
    candidates[i] = request.get_output_tensor(0).data.copy()
