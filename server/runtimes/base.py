"""What a runtime declares, and what it does to a model of the repository."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from triton_yolo.server.errors import ServerError

if TYPE_CHECKING:  # the stubs import this file too, and need no gRPC
    from tritonclient.grpc.model_config_pb2 import ModelConfig

Device = Literal["cpu", "gpu"]  # where a runtime computes
Arithmetic = Literal["auto", "int8", "float"]  # what a network computes in; auto: the fastest that is right

RECORD = "proved.json"  # in the folder of a network: what was tried, for whoever started the server
# Images that leave a queue at once on a CPU, where a batch gains nothing: a request of priority 1 that comes later has
# to wait for them, and none of them is refused any more for having waited too long.
AT_ONCE = 1
# Triton's stubs ignore PYTHONPATH, so the file beside the model says where the package is.
MODEL_FILE = """\"\"\"Written by triton-yolo serve.\"\"\"

import sys

sys.path.insert(0, {package!r})
from {module} import TritonPythonModel
"""
PACKAGE = Path(__file__).absolute().parents[3]  # the folder that triton_yolo is in


class Runtime(ABC):
    """A Python model that computes what a backend of the container computes.

    Attributes:
        backend: whose models it computes: "dali", "tensorrt".
        devices: where it can.
        file: that a model's version folder must hold.
        hint: what that file is, for whoever lacks it.
    """

    backend: ClassVar[str]
    devices: ClassVar[tuple[Device, ...]]
    file: ClassVar[str]
    hint: ClassVar[str]

    @abstractmethod
    def module(self, config: ModelConfig) -> str:
        """Return the name of the module whose TritonPythonModel computes a model.

        Raises:
            ServerError: there is none for this model.
        """

    def configured(self, config: ModelConfig, device: Device, arithmetic: Arithmetic) -> ModelConfig:
        """Derive a model's configuration: only backend, model file, instances, parameters and preferred batch change.

        Args:
            config: of the model, as the container has it.
            device: where it computes; on a GPU, inputs stay there, and on the CPU instances are of its kind.
            arithmetic: what a network computes in.

        Returns:
            a new configuration with the same tensors and queues.
        """
        derived = deepcopy(config)
        derived.backend = "python"
        derived.ClearField("platform")
        derived.ClearField("default_model_filename")
        if device == "gpu":
            derived.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value = "no"
            return derived
        for group in derived.instance_group:
            group.kind = group.KIND_CPU
            group.ClearField("gpus")
        if derived.HasField("dynamic_batching"):
            derived.dynamic_batching.preferred_batch_size[:] = [AT_ONCE]
        return derived

    def prepare(self, file: Path, version: Path, arithmetic: Arithmetic) -> None:
        """Put what the Python model reads into its version folder.

        Args:
            file: of the model in its repository.
            version: the folder to fill.
            arithmetic: what a network computes in.

        Raises:
            ServerError: the file cannot be served in this arithmetic.
        """
        (version / self.file).symlink_to(file)

    def write(self, source: Path, target: Path, config: ModelConfig, device: Device, arithmetic: Arithmetic) -> None:
        """Write a model's folder in the runtime repository, but for its configuration.

        Args:
            source: the model's folder in the repository.
            target: the folder to make.
            config: of the model.
            device: where it computes.
            arithmetic: what a network computes in.

        Raises:
            ServerError: the model's file is missing, or cannot be used.
        """
        file = (source / "1" / self.file).resolve()
        if not file.is_file():
            raise ServerError(f"{source / '1' / self.file} is missing: {self.hint}")
        version = target / "1"
        version.mkdir(parents=True)
        (version / "model.py").write_text(MODEL_FILE.format(package=str(PACKAGE), module=self.module(config)))
        self.prepare(file, version, arithmetic)
