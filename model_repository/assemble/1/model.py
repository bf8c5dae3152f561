"""Triton Python model around streams.py: unpack, call, pack."""

from __future__ import annotations

import json
import time
import zlib
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .errors import BadUpdate, NoRoom
from .standstill import Standstill
from .streams import Streams
from .update import read_update

INPUTS = ("tiles", "coded", "positions", "stream", "numbers", "key", "checksum")
NOT_ASKED = -1  # for the checksum of the frame, in the answer


class TritonPythonModel:
    """Tiles that changed to whole frames."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read config.pbtxt."""
        values = {key: v["string_value"] for key, v in json.loads(args["model_config"])["parameters"].items()}
        self.streams = Streams(
            "assemble", int(values["max_streams"]), int(values["max_bytes"]), float(values["idle_seconds"])
        )
        self.standstill = Standstill("assemble")

    def finalize(self) -> None:
        """End the watch."""
        self.standstill.close()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests in turn; one that is refused fails alone, and changes no frame."""
        with self.standstill:
            return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        """Return the response to a request.

        Its frame is a copy, in the Python backend's shared memory: Triton still reads that when the stream's next
        request changes the frame that is kept here.
        """
        parameters = json.loads(request.parameters() or "{}")
        inputs = [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in INPUTS]
        try:
            if parameters.get("forget"):
                return self.forget(*inputs[3:5])
            update = read_update(*inputs)
            frame = self.streams.apply(update, time.monotonic())
        except BadUpdate as error:
            code = pb_utils.TritonError.UNAVAILABLE if isinstance(error, NoRoom) else pb_utils.TritonError.INVALID_ARG
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), code))
        return _response(
            frame, update.place.number, zlib.crc32(frame.data) if parameters.get("frame_checksum") else NOT_ASKED
        )

    def forget(self, stream: Any, numbers: Any) -> Any:
        """Give up a stream, and answer with a frame without pixels."""
        self.streams.forget(stream[0].tobytes(), int(numbers[0, 0]))
        return _response(np.zeros((0, 0, 3), np.uint8), int(numbers[0, 1]), NOT_ASKED)


def _response(frame: Any, number: int, checksum: int) -> Any:
    return pb_utils.InferenceResponse(
        [
            pb_utils.Tensor("frames", frame[None]),
            pb_utils.Tensor("frame_number", np.array([[number]], np.int64)),
            pb_utils.Tensor("frame_checksum", np.array([[checksum]], np.int64)),
        ]
    )
