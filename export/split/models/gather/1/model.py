"""Triton Python model around streams.py: unpack, call, pack."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .errors import BadUpdate, NoRoom
from .standstill import Standstill
from .streams import Streams
from .update import read_update

INPUTS = ("coded", "stream", "numbers", "key", "image_size", "network", "checksum")


class TritonPythonModel:
    """Differences of features to whole features."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read config.pbtxt."""
        config = json.loads(args["model_config"])
        values = {key: value["string_value"] for key, value in config["parameters"].items()}
        self.network = values["network"].encode()
        self.length = int(config["output"][0]["dims"][0])
        self.streams = Streams(
            "gather", int(values["max_streams"]), int(values["max_bytes"]), float(values["idle_seconds"])
        )
        self.standstill = Standstill("gather")

    def finalize(self) -> None:
        """End the watch."""
        self.standstill.close()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests in turn; one that is refused fails alone, and changes nothing."""
        with self.standstill:
            return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        """Return the response to a request."""
        parameters = json.loads(request.parameters() or "{}")
        inputs = [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in INPUTS]
        try:
            if parameters.get("forget"):
                return self.forget(*inputs[1:3])
            update = read_update(*inputs, served=self.network, length=self.length)
            features = self.streams.apply(update, time.monotonic())
        except BadUpdate as error:
            code = pb_utils.TritonError.UNAVAILABLE if isinstance(error, NoRoom) else pb_utils.TritonError.INVALID_ARG
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), code))
        return _response(features, inputs[4], update.place.number)

    def forget(self, stream: Any, numbers: Any) -> Any:
        """Give up a stream, and answer with features that nothing was seen in."""
        self.streams.forget(stream[0].tobytes(), int(numbers[0, 0]))
        return _response(np.zeros(self.length, np.int8), np.zeros((1, 2), np.int32), int(numbers[0, 1]))


def _response(features: Any, image_size: Any, number: int) -> Any:
    return pb_utils.InferenceResponse(
        [
            pb_utils.Tensor("features", features[None]),
            pb_utils.Tensor("image_size", image_size),
            pb_utils.Tensor("frame_number", np.array([[number]], np.int64)),
        ]
    )
