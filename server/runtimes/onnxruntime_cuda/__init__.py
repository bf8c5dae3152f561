"""ONNX Runtime with CUDA graphs, for networks on a GPU: float16."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from triton_yolo.server.errors import ServerError
from triton_yolo.server.runtimes.base import Arithmetic, Device
from triton_yolo.server.runtimes.network import NetworkRuntime


class OnnxRuntimeCuda(NetworkRuntime):
    """Runs the graph in float16, rewritten for ONNX Runtime's CUDA provider."""

    devices: ClassVar[tuple[Device, ...]] = ("gpu",)

    def prepare(self, file: Path, version: Path, arithmetic: Arithmetic) -> None:
        """Put the rewritten graph into the version folder, and its proof."""
        self.proof(file, version)
        if arithmetic == "int8":
            raise ServerError(
                "--arithmetic int8 takes TensorRT on a GPU, since ONNX Runtime's CUDA provider has no INT8 "
                "convolutions: leave it out for float16, or serve from a container"
            )
        from triton_yolo.server.runtimes.onnxruntime_cuda.graph import gpu_graph  # takes a second to import

        (version / self.file).write_bytes(gpu_graph(file).SerializeToString())


RUNTIME = OnnxRuntimeCuda()
