"""Triton Python model that runs preprocess_frames/1/dali.py, on the CPU or on a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import triton_python_backend_utils as pb_utils

from triton_yolo.server.runtimes.dali.pipeline import make_pipeline, respond


class TritonPythonModel:
    """Raw RGB frames to letterboxed pixels and their original sizes."""

    def initialize(self, args: dict[str, str]) -> None:
        """Build the pipeline."""
        self.pipeline = make_pipeline("preprocess_frames", "frames", args)

    def finalize(self) -> None:
        """Let go of the pipeline while Python is still whole: DALI's threads may not end after that."""
        self.pipeline.close()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Letterbox the frames of all requests together."""
        tensors = [pb_utils.get_input_tensor_by_name(request, "frames") for request in requests]
        batches = [_frames(tensor) if math.prod(tensor.shape()) else [] for tensor in tensors]
        sound = iter(self.pipeline.run([frame for batch in batches for frame in batch]))
        return [
            respond([next(sound) for _ in batch] or [ValueError(f"frames has no pixels: {tuple(tensor.shape()[1:])}")])
            for tensor, batch in zip(tensors, batches, strict=True)
        ]


def _frames(tensor: Any) -> Sequence[Any]:
    """Return the frames of one request, where they are: uint8 [H, W, 3] each, arrays or DALI's tensors on the GPU."""
    if tensor.is_cpu():
        return list(tensor.as_numpy())
    from triton_yolo.server.runtimes.dali.gpu_pipeline import frames_of

    return frames_of(tensor)
