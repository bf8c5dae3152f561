"""Triton Python model that runs preprocess/1/dali.py, on the CPU or on a GPU."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from triton_yolo.server.runtimes.dali.encoded import ImageError, check_image
from triton_yolo.server.runtimes.dali.pipeline import make_pipeline, make_worker, respond


class TritonPythonModel:
    """Encoded images to letterboxed pixels and their original sizes."""

    def initialize(self, args: dict[str, str]) -> None:
        """Build the pipeline."""
        self.pipeline = make_pipeline(args, lambda: self.worker.excused())
        self.worker = make_worker(args, self.respond, "image")

    def finalize(self) -> None:
        """Let go of the pipeline while Python is still whole: DALI's threads may not end after that."""
        self.worker.close()
        self.pipeline.close()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests, or hand them over to the thread that does."""
        return self.worker.execute(requests)

    def respond(self, requests: list[Any]) -> list[Any]:
        """Decode the images of all requests together; an image that is refused fails its own request alone."""
        batches = [pb_utils.get_input_tensor_by_name(request, "image").as_numpy() for request in requests]
        answers = iter(self.decode([image for batch in batches for image in batch]))
        return [respond([next(answers) for _ in batch]) for batch in batches]

    def decode(self, images: list[npt.NDArray[Any]]) -> list[Any]:
        """Check each image's header, decode those that pass."""
        answers: list[Any] = []
        sound = []
        for image in images:
            try:
                check_image(image.data)
                sound.append((image,))
                answers.append(None)
            except ImageError as error:
                answers.append(error)
        decoded = (_explained(answer) for answer in self.pipeline.run(sound))
        return [next(decoded) if answer is None else answer for answer in answers]


def _explained(answer: Any) -> Any:
    """Explain a failure of DALI, which names its own operator, in the client's words."""
    if isinstance(answer, RuntimeError):
        return ImageError("image cannot be decoded: it is damaged, or a kind of JPEG or PNG that is not supported")
    return answer
