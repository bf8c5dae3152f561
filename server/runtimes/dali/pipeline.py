"""Where a DALI definition runs, and the replies made of its answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from triton_yolo.cores import usable_cores
from triton_yolo.dali_definition import DEFINITION, load_definition
from triton_yolo.server.runtimes.backlog import Backlog
from triton_yolo.server.runtimes.handover import Direct, Worker


def make_pipeline(args: dict[str, str], excused: Callable[[], AbstractContextManager[None]]) -> Any:
    """Build the definition of a model for the place that its configuration names.

    This loads DALI, but for the repository's own definitions on a CPU. The model's dali.py has a ``pipeline_def`` of
    the model's name that takes ``device``, and an external source for each of the model's inputs.

    Args:
        args: of the model's initialize.
        excused: see Standstill.

    Returns:
        an OpenCvPipeline, a CpuPipeline or a GpuPipeline: its run() takes samples, tuples with what each input takes,
        and gives an answer for each, ``images`` uint8 [3, H, W] and ``image_size`` int32 [2], or the exception that it
        failed with.
    """
    config = json.loads(args["model_config"])
    file = Path(args["model_repository"], args["model_version"], DEFINITION)
    on_cpu = args["model_instance_kind"] == "CPU"
    if on_cpu:
        from triton_yolo.server.runtimes.dali.opencv_pipeline import OpenCvPipeline, is_known

        if is_known(config["name"], file):
            return OpenCvPipeline(config["name"], file)
    definition = getattr(load_definition(file), config["name"])
    sources = [tensor["name"] for tensor in config["input"]]
    if on_cpu:
        from triton_yolo.server.runtimes.dali.cpu_pipeline import CpuPipeline

        return CpuPipeline(definition, sources)
    from triton_yolo.server.runtimes.dali.gpu_pipeline import GpuPipeline

    threads = int(config["parameters"]["num_threads"]["string_value"])  # of Triton's own DALI backend too
    device = int(args["model_instance_device_id"])
    return GpuPipeline(definition, sources, config["max_batch_size"], threads, device, excused)


def make_worker(args: dict[str, str], respond: Callable[[list[Any]], list[Any]], source: str) -> Direct | Worker:
    """Return what answers: a thread on a CPU; on a GPU ``execute`` itself, since pixels hold until its next call.

    Args:
        args: of the model's initialize.
        respond: makes the responses of some requests.
        source: name of the model's input.
    """
    model = json.loads(args["model_config"])["name"]
    if args["model_instance_kind"] != "CPU":
        return Direct(model, respond)

    def images_of(request: Any) -> int:
        return int(pb_utils.get_input_tensor_by_name(request, source).shape()[0])

    behind = Backlog.of_all(Path(args["model_repository"]).parent)
    return Worker(model, respond, images_of, usable_cores(), behind)


def respond(answers: Sequence[Any]) -> Any:
    """Make the response of one request out of the answers to its samples.

    Args:
        answers: one a sample, in the request's order.

    Returns:
        an InferenceResponse with ``images`` and ``image_size``, or with the error of the first sample that failed.
    """
    for i, answer in enumerate(answers):
        if isinstance(answer, Exception):
            where = f" (number {i} of the batch)" if len(answers) > 1 else ""
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(f"{answer}{where}", pb_utils.TritonError.INVALID_ARG)
            )
    return pb_utils.InferenceResponse(
        [_tensor(name, parts) for name, parts in zip(("images", "image_size"), zip(*answers, strict=True), strict=True)]
    )


def _tensor(name: str, parts: Sequence[Any]) -> Any:
    """Return one tensor with a leading batch dimension; a batch of one, and pixels on a GPU, are not copied."""
    if not isinstance(parts[0], np.ndarray):
        return pb_utils.Tensor.from_dlpack(name, parts[0].with_next(len(parts)))
    return pb_utils.Tensor(name, parts[0][None] if len(parts) == 1 else np.stack(parts))
