"""The configurations that the container serves: those of the repository, serialised pipelines, and warm-up."""

from __future__ import annotations

from dataclasses import dataclass

from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelWarmup

from deploy.pipelines import SERIALISED
from triton_yolo.server.repository import on_gpu

JPEG, FRAME = "board.jpg", "board.rgb"  # in a model's folder `warmup`, where Triton looks for them
BATCHES = (1, 8)  # a lone request, and one of each of 8 cameras


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
    frame, or run the network: the first request then waits for no library to load and no memory to be taken. What the
    repository says of its own warm-up stays.

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
    if config.backend != "dali":
        return {}
    return {JPEG: sample.jpeg} if _takes_encoded(config) else {FRAME: sample.frame}


def _warmup(config: ModelConfig, sample: Sample) -> list[ModelWarmup]:
    sizes = sorted({*BATCHES, config.max_batch_size} & set(range(1, config.max_batch_size + 1)))
    if config.backend == "dali":
        encoded = _takes_encoded(config)
        dims, name = ([len(sample.jpeg)], JPEG) if encoded else ([sample.height, sample.width, 3], FRAME)
        return [_requests(config, size, dims, name) for size in sizes]
    if config.platform == "tensorrt_plan":
        return [_requests(config, size, list(config.input[0].dims), None) for size in sizes]
    return []  # Python models are warm when they have started; ensembles have no warm-up


def _requests(config: ModelConfig, size: int, dims: list[int], name: str | None) -> ModelWarmup:
    """Return a batch of so many requests, of a file's content or of noise."""
    (tensor,) = config.input
    warmup = ModelWarmup(name=f"batch of {size}", batch_size=size)
    data = warmup.inputs[tensor.name]
    data.data_type = tensor.data_type
    data.dims.extend(dims)
    if name is None:
        data.random_data = True
    else:
        data.input_data_file = name
    return warmup


def _takes_encoded(config: ModelConfig) -> bool:
    return len(config.input[0].dims) == 1
