"""Triton Python model around postprocess.py: unpack, call, pack."""

from __future__ import annotations

import json
from typing import Any

import triton_python_backend_utils as pb_utils
from postprocess import Letterbox, Thresholds, detections

OUTPUTS = ("num_detections", "boxes", "scores", "classes")


class TritonPythonModel:
    """Candidates of the network to detections in original pixels."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the thresholds' defaults and the shapes from config.pbtxt."""
        config = json.loads(args["model_config"])
        values = {key: value["string_value"] for key, value in config["parameters"].items()}
        self.thresholds = Thresholds(float(values["score_threshold"]), float(values["iou_threshold"]))
        self.letterbox = Letterbox.from_parameters(values)
        self.most = next(int(o["dims"][0]) for o in config["output"] if o["name"] == "boxes")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request by itself: a bad threshold fails its own request alone."""
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        """Run one request of one or more images."""
        candidates, image_size = (
            pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in ("candidates", "image_size")
        )
        try:
            thresholds = self.thresholds.updated(json.loads(request.parameters() or "{}"))
        except ValueError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        arrays = detections(candidates, image_size, thresholds, self.most, self.letterbox)
        return pb_utils.InferenceResponse([pb_utils.Tensor(*pair) for pair in zip(OUTPUTS, arrays, strict=True)])
