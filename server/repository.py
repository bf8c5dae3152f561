"""Composes, out of a model repository for GPU containers, one that runs on Python models alone."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from triton_yolo.repository import read_config
from triton_yolo.server.errors import ServerError
from triton_yolo.server.runtimes import backend_of, runtime_for
from triton_yolo.server.runtimes.base import Arithmetic, Device

OF_TRITON = ("", "python")  # ensembles, and models that bring their own Python


def compose(
    source: Path,
    target: Path,
    device: Device = "cpu",
    native: Collection[str] = (),
    arithmetic: Arithmetic = "auto",
    gpu: str | None = None,
) -> list[str]:
    """Write the runtime repository: links to the source's files, derived configurations where a backend is missing.

    Args:
        source: the model repository, as a GPU container mounts it.
        target: an existing folder to fill.
        device: where Python models compute.
        native: backends that the server has, whose models run as they are.
        arithmetic: what the network computes in.
        gpu: UUID of the server's GPU, which clients read from the ensembles.

    Returns:
        the names of the models.

    Raises:
        RepositoryError: a configuration cannot be read.
        ServerError: the source is no model repository, lacks a file, or has no graph of that arithmetic.
    """
    if not source.is_dir():
        raise ServerError(f"no model repository at {source}: give its folder with --repository")
    folders = sorted(path.parent for path in source.glob("*/config.pbtxt"))
    if not folders:
        raise ServerError(f"{source} is not a model repository: none of its folders holds a config.pbtxt")
    for folder in folders:
        _compose_model(folder, target / folder.name, device, native, arithmetic, gpu)
    return [folder.name for folder in folders]


def _compose_model(
    source: Path, target: Path, device: Device, native: Collection[str], arithmetic: Arithmetic, gpu: str | None
) -> None:
    config = read_config(source / "config.pbtxt")
    runtime = runtime_for(config, device, native)
    if runtime is not None:
        runtime.write(source, target, config, device, arithmetic)
        config = runtime.configured(config, device, arithmetic)
    elif backend_of(config) in (*OF_TRITON, *native):
        shutil.copytree(source, target)
        (target / "1").mkdir(exist_ok=True)  # Triton wants a version folder, and git keeps no empty one
        if not gpu or config.platform != "ensemble":
            return
        config = on_gpu(config, gpu)
    else:
        raise ServerError(f"{source}: no Python model stands in for a {backend_of(config)} model here")
    (target / "config.pbtxt").write_text(text_format.MessageToString(config))


def on_gpu(config: ModelConfig, uuid: str) -> ModelConfig:
    """Add to the configuration of an ensemble a parameter that tells clients which GPU the server uses.

    Args:
        config: of the ensemble.
        uuid: of the GPU.

    Returns:
        a new configuration.
    """
    told = ModelConfig()
    told.CopyFrom(config)
    told.parameters["gpu_uuid"].string_value = uuid
    return told
