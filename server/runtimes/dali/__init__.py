"""DALI's Python library, for models of the DALI backend, on the CPU and on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from triton_yolo.dali_definition import DEFINITION, read_by
from triton_yolo.server.errors import ServerError
from triton_yolo.server.runtimes.base import Arithmetic, Device, Runtime

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

# By the name of the model's first input: encoded images are checked before DALI sees them, and of frames the shape.
MODULES = {"image": "image_model", "frames": "frames_model"}


class Dali(Runtime):
    """Builds the model's own dali.py."""

    backend: ClassVar[str] = "dali"
    devices: ClassVar[tuple[Device, ...]] = ("cpu", "gpu")
    file: ClassVar[str] = DEFINITION
    hint: ClassVar[str] = "it defines the DALI pipeline of this model"

    def module(self, config: ModelConfig) -> str:
        """Return the module for this model's input."""
        source = config.input[0].name if config.input else ""
        if source not in MODULES:
            raise ServerError(
                f"the DALI model {config.name} takes {source or 'nothing'}: without DALI's own backend, inputs are "
                f"{' or '.join(MODULES)}"
            )
        return f"{__name__}.{MODULES[source]}"

    def configured(self, config: ModelConfig, device: Device, arithmetic: Arithmetic) -> ModelConfig:
        """Derive the configuration, with one instance.

        Each would be a process of its own, which takes turns with the others on the GPU or competes for the cores.
        """
        derived = super().configured(config, device, arithmetic)
        for group in derived.instance_group:
            group.count = 1
        return derived

    def prepare(self, file: Path, version: Path, arithmetic: Arithmetic) -> None:
        """Put the definition into the version folder, and what it reads."""
        super().prepare(file, version, arithmetic)
        for read in read_by(file):
            (version / read.name).symlink_to(read)


RUNTIME = Dali()
