"""Reads model configurations through Triton's own protobuf, so that a wrong field fails before any server starts."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from server.errors import ServerError

# Backends of the container whose work Python models do here, and the file that holds the work itself.
STAND_INS = {"dali": "dali.py", "tensorrt": "model.onnx"}

Device = Literal["cpu", "gpu"]  # where the stand-ins compute
Arithmetic = Literal["auto", "int8", "float"]  # what the network computes in; auto: the fastest that is right


def read_config(path: Path) -> ModelConfig:
    """Parse a config.pbtxt.

    Args:
        path: of the file.

    Raises:
        ServerError: the file cannot be read or has a field that Triton does not know.
    """
    try:
        return text_format.Parse(path.read_text(), ModelConfig())
    except OSError as error:
        raise ServerError(f"cannot read {path}: {error.strerror}; is --repository a model repository?") from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ServerError(f"{path} is not a Triton model configuration: {error}") from None


def stand_in_for(config: ModelConfig, native: Collection[str] = ()) -> str | None:
    """The file that a Python model needs to do this model's work, None where the model runs as it is.

    Args:
        config: of the model.
        native: backends that need no stand-in.
    """
    backend = "tensorrt" if config.platform == "tensorrt_plan" else config.backend
    return None if backend in native else STAND_INS.get(backend)


def on_gpu(config: ModelConfig, uuid: str) -> ModelConfig:
    """The configuration of an ensemble with a parameter that tells clients which GPU the server uses.

    Args:
        config: of the ensemble.
        uuid: of the GPU.
    """
    told = ModelConfig()
    told.CopyFrom(config)
    told.parameters["gpu_uuid"].string_value = uuid
    return told


def as_python_model(config: ModelConfig, device: Device = "cpu", arithmetic: Arithmetic = "auto") -> ModelConfig:
    """Derive the configuration of a Python model: only backend, model file and instances change.

    On the CPU, instances are of its kind. Where DALI's backend has several, a Python model has one: each would be a
    process of its own, which takes turns with the others on the GPU or competes for the cores.

    Args:
        config: of a DALI or TensorRT model.
        device: where it computes.
        arithmetic: what a network computes in.

    Returns:
        a new configuration with the same tensors, batching and parameters, and one more parameter for a network, its
        arithmetic, and one on a GPU, which keeps inputs there.
    """
    derived = ModelConfig()
    derived.CopyFrom(config)
    derived.backend = "python"
    derived.ClearField("platform")
    derived.ClearField("default_model_filename")
    if config.platform == "tensorrt_plan":
        derived.parameters["arithmetic"].string_value = arithmetic
    if config.backend == "dali":
        for group in derived.instance_group:
            group.count = 1
    if device == "gpu":
        derived.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value = "no"
        return derived
    for group in derived.instance_group:
        group.kind = ModelInstanceGroup.KIND_CPU
        group.ClearField("gpus")
    return derived
