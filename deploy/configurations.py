"""The configurations that the container serves: those of the repository, serialised pipelines, and warm-up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelWarmup

from deploy.pipelines import SERIALISED
from triton_yolo.clients.pixel_formats import PIXEL_FORMATS
from triton_yolo.server.repository import on_gpu

JPEG, FRAME = "board.jpg", "board.rgb"  # in a model's folder `warmup`, where Triton looks for them
BATCHES = (1, 8)  # a lone request, and one of each of 8 cameras
FORMATS = {one.model.replace("detect", "preprocess"): one for one in PIXEL_FORMATS.values()}  # of raw frames, by model


@dataclass(frozen=True)
class Sample:
    """What models are warmed up with.

    Attributes:
        jpeg: an encoded image.
        frame: its pixels, height x width x 3 bytes of RGB.
        height: in pixels.
        width: in pixels.
    """

    jpeg: bytes
    frame: bytes
    height: int
    width: int


def served(config: ModelConfig, sample: Sample, gpu: str | None = None) -> ModelConfig:
    """Return the configuration of a model in the container.

    DALI models load the serialised pipeline. A model is ready only when it has decoded a real JPEG, letterboxed a real
    frame, converted black ones of a sensor, or run the network: the first request then waits for no library to load and
    no memory to be taken. What the repository says of its own warm-up stays.

    Args:
        config: of the repository.
        sample: to warm up with.
        gpu: UUID of the GPU at hand, which ensembles tell their clients.

    Returns:
        a new configuration.
    """
    changed = ModelConfig()
    changed.CopyFrom(on_gpu(config, gpu) if gpu and config.platform == "ensemble" else config)
    if config.backend == "dali":
        changed.default_model_filename = SERIALISED
    if not config.model_warmup:
        changed.model_warmup.extend(_warmup(config, sample))
    return changed


def files(config: ModelConfig, sample: Sample) -> dict[str, bytes]:
    """Return what the model's folder `warmup` holds, by name."""
    name = _file(config)
    return {name: sample.jpeg if name == JPEG else sample.frame} if name else {}


def _warmup(config: ModelConfig, sample: Sample) -> list[ModelWarmup]:
    sizes = sorted({*BATCHES, config.max_batch_size} & set(range(1, config.max_batch_size + 1)))
    if config.backend == "dali":
        one = FORMATS.get(config.name)
        dims = one.shape(sample.height, sample.width) if one else (len(sample.jpeg),)
        return [_requests(config, size, dims) for size in sizes]
    if config.platform == "tensorrt_plan":
        return [_requests(config, size, config.input[0].dims) for size in sizes]
    return []  # Python models are warm when they have started; ensembles have no warm-up


def _requests(config: ModelConfig, size: int, dims: Sequence[int]) -> ModelWarmup:
    """Return a batch of so many requests: of a file's content, of noise for a network, else of zeros.

    Args:
        config: of the model.
        size: of the batch.
        dims: of the first input; others have those of the configuration.
    """
    warmup = ModelWarmup(name=f"batch of {size}", batch_size=size)
    for number, tensor in enumerate(config.input):
        data = warmup.inputs[tensor.name]
        data.data_type = tensor.data_type
        data.dims.extend(tensor.dims if number else dims)
        if name := _file(config):
            data.input_data_file = name
        elif config.backend == "dali":
            data.zero_data = True
        else:
            data.random_data = True
    return warmup


def _file(config: ModelConfig) -> str | None:
    """Return the name of the file that a model is warmed up with, None where there is none."""
    if config.backend != "dali":
        return None
    if len(config.input[0].dims) == 1:
        return JPEG
    return FRAME if FORMATS[config.name].channels == (3,) else None
