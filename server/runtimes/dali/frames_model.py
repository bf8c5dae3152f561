"""Triton Python model that runs the dali.py of a model that takes raw frames, on the CPU or on a GPU."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from triton_yolo.server.runtimes.dali.pipeline import make_pipeline, make_worker, respond
from triton_yolo.server.runtimes.dali.raw_frames import RGB, FrameError, check_blue_positions, check_frames


class TritonPythonModel:
    """Raw frames to letterboxed pixels and their original sizes."""

    def initialize(self, args: dict[str, str]) -> None:
        """Prepare; the pipeline is built when the first frame comes, since few servers get frames of all formats.

        On a CPU that frame waits 0.3 s. On a GPU it waits longer, and RGB frames do not.
        """
        self.args = args
        config = json.loads(args["model_config"])
        self.name, self.inputs = config["name"], [tensor["name"] for tensor in config["input"]]
        self.worker = make_worker(args, self.respond, "frames")
        if self.name == RGB and args["model_instance_kind"] != "CPU":
            _ = self.pipeline

    @cached_property
    def pipeline(self) -> Any:
        """What computes; DALI takes 50 MB and 0.3 s of a processor, and on a GPU a CUDA context."""
        with self.worker.excused():
            return make_pipeline(self.args, self.worker.excused)

    def finalize(self) -> None:
        """Let go of the pipeline while Python is still whole: DALI's threads may not end after that."""
        self.worker.close()
        if "pipeline" in vars(self):
            self.pipeline.close()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests, or hand them over to the thread that does."""
        return self.worker.execute(requests)

    def respond(self, requests: list[Any]) -> list[Any]:
        """Letterbox the frames of all requests together; frames that are refused fail their own request alone."""
        batches = [self._samples(request) for request in requests]
        sound = [sample for batch in batches if not isinstance(batch, Exception) for sample in batch]
        answers = iter(self.pipeline.run(sound) if sound else ())
        return [
            respond([batch] if isinstance(batch, Exception) else [next(answers) for _ in batch]) for batch in batches
        ]

    def _samples(self, request: Any) -> Sequence[tuple[Any, ...]] | FrameError:
        """Return what the pipeline takes of each frame of a request, in the order of the model's inputs."""
        frames, *others = (pb_utils.get_input_tensor_by_name(request, name) for name in self.inputs)
        try:
            check_frames(self.name, frames.shape()[1:])
            positions = [_array(other) for other in others]
            for array in positions:
                check_blue_positions(array)
        except FrameError as error:
            return error
        return list(zip(_frames(frames), *positions, strict=True))


def _frames(tensor: Any) -> Sequence[Any]:
    """Return the frames of one request, where they are: uint8 each, arrays or DALI's tensors on the GPU."""
    if tensor.is_cpu():
        return list(tensor.as_numpy())
    from triton_yolo.server.runtimes.dali.gpu_pipeline import frames_of

    return frames_of(tensor)


def _array(tensor: Any) -> npt.NDArray[Any]:
    if tensor.is_cpu():
        return np.asarray(tensor.as_numpy())
    from triton_yolo.server.runtimes.dali.gpu_pipeline import on_host

    return on_host(tensor)
