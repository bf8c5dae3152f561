"""How many bytes each stage of an ensemble reads and writes for one image, from the repository's configurations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInput, ModelOutput

from triton_yolo.repository import read_config


@dataclass(frozen=True)
class Stage:
    """One step's traffic for one image.

    Attributes:
        name: of the model.
        reads: bytes of its inputs.
        writes: bytes of its outputs.
    """

    name: str
    reads: int
    writes: int


def stage_bytes(repository: Path, ensemble: str, variable: dict[str, int]) -> list[Stage]:
    """Return traffic of every step, in the ensemble's order.

    Args:
        repository: model repository.
        ensemble: name of the ensemble.
        variable: bytes of the tensors whose size varies, by name: {"image": bytes of a JPEG}.

    Returns:
        one entry a step.
    """
    steps = read_config(repository / ensemble / "config.pbtxt").ensemble_scheduling.step
    configs = [read_config(repository / step.model_name / "config.pbtxt") for step in steps]
    return [Stage(config.name, _total(config.input, variable), _total(config.output, variable)) for config in configs]


def _total(tensors: ModelConfig, variable: dict[str, int]) -> int:
    return sum(variable.get(tensor.name) or tensor_bytes(tensor) for tensor in tensors)


def tensor_bytes(tensor: ModelInput | ModelOutput) -> int:
    """Return the bytes of a tensor of a model's configuration for one image; its dimensions are all known."""
    return math.prod(tensor.dims) * _item_size(tensor.data_type)


def _item_size(data_type: int) -> int:
    name = DataType.Name(data_type).removeprefix("TYPE_").lower()
    return np.dtype(name.replace("fp", "float")).itemsize
