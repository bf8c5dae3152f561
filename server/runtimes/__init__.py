"""The ways to compute a model here that in the container a backend computes; a package for each.

A runtime is found by what it declares. To add one, write a package beside the others whose ``__init__.py`` defines
a subclass of Runtime and names one as RUNTIME.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Collection
from importlib import import_module
from typing import TYPE_CHECKING

from triton_yolo.server.runtimes.base import Device, Runtime

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig


def runtimes() -> list[Runtime]:
    """Return the runtime of each package in this one."""
    packages = [module.name for module in pkgutil.iter_modules(__path__) if module.ispkg]
    return [import_module(f"{__name__}.{name}").RUNTIME for name in packages]


def backend_of(config: ModelConfig) -> str:
    """Return the backend that computes a model in the container; empty for an ensemble."""
    return "tensorrt" if config.platform == "tensorrt_plan" else str(config.backend)


def runtime_for(config: ModelConfig, device: Device, native: Collection[str] = ()) -> Runtime | None:
    """Find what computes a model here.

    Args:
        config: of the model.
        device: where.
        native: backends that the server has itself.

    Returns:
        None where the model runs as it is: an ensemble, a Python model, or one of a native backend.
    """
    backend = backend_of(config)
    if backend in native:
        return None
    return next((one for one in runtimes() if one.backend == backend and device in one.devices), None)
