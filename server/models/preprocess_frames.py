"""Triton Python model that runs preprocess_frames/1/dali.py on the CPU."""

from __future__ import annotations

from typing import Any

import triton_python_backend_utils as pb_utils
from dali import preprocess_frames
from pipeline import Answer, CpuPipeline, respond


class TritonPythonModel:
    """Raw RGB frames to letterboxed pixels and their original sizes."""

    def initialize(self, args: dict[str, str]) -> None:
        """Build the pipeline."""
        self.pipeline = CpuPipeline(preprocess_frames, "frames")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Letterbox the frames of all requests together."""
        batches = [pb_utils.get_input_tensor_by_name(request, "frames").as_numpy() for request in requests]
        sound = iter(self.pipeline.run([frame for batch in batches for frame in batch if frame.size]))
        answers: list[list[Answer]] = [
            [next(sound) if frame.size else ValueError(f"frames has no pixels: {frame.shape}") for frame in batch]
            for batch in batches
        ]
        return [respond(batch) for batch in answers]
