"""Triton Python model around detections.py: unpack, call, pack."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .detections import detections
from .served_model import ServedModel
from .standstill import Standstill
from .thresholds import Thresholds

INPUTS = ("candidates", "image_size")
OUTPUTS = ("num_detections", "boxes", "scores", "classes")


class TritonPythonModel:
    """Candidates of the network to detections in original pixels."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read config.pbtxt."""
        self.served = ServedModel.from_config(json.loads(args["model_config"]))
        self.standstill = Standstill("nms")

    def finalize(self) -> None:
        """End the watch."""
        self.standstill.close()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests, unless this process stood still meanwhile."""
        with self.standstill:
            return self.answers(requests)

    def answers(self, requests: list[Any]) -> list[Any]:
        """Run requests of the same thresholds together; a bad threshold fails its own request alone."""
        responses: list[Any] = [None] * len(requests)
        usual = self.served.thresholds
        alike: dict[Thresholds, list[int]] = {}
        for i, request in enumerate(requests):
            try:
                parameters = request.parameters()
                thresholds = usual.updated(json.loads(parameters)) if parameters else usual
                alike.setdefault(thresholds, []).append(i)
            except ValueError as error:
                refusal = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
                responses[i] = pb_utils.InferenceResponse(error=refusal)
        for thresholds, numbers in alike.items():
            answers = self.answer([requests[i] for i in numbers], thresholds)
            for i, response in zip(numbers, answers, strict=True):
                responses[i] = response
        return responses

    def answer(self, requests: list[Any], thresholds: Thresholds) -> list[Any]:
        """Run requests of one or more images each as one batch."""
        inputs = [[pb_utils.get_input_tensor_by_name(r, name).as_numpy() for r in requests] for name in INPUTS]
        candidates, image_size = (parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in inputs)
        arrays = detections(candidates, image_size, thresholds, self.served.max_detections, self.served.letterbox)
        responses, end = [], 0
        for part in inputs[0]:
            start, end = end, end + len(part)
            tensors = [pb_utils.Tensor(name, array[start:end]) for name, array in zip(OUTPUTS, arrays, strict=True)]
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses
