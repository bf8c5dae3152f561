"""OpenVINO, for networks on the CPU: INT8 where it is right there, else float32."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from triton_yolo.errors import GraphError
from triton_yolo.server.errors import ServerError
from triton_yolo.server.runtimes import backlog
from triton_yolo.server.runtimes.base import Arithmetic, Device
from triton_yolo.server.runtimes.network import NetworkRuntime

FLOAT_GRAPH = "float.onnx"  # the graph without its Q/DQ pairs


class OpenVino(NetworkRuntime):
    """Compiles the graph, and for the case that its INT8 is wrong here, the same without Q/DQ pairs."""

    devices: ClassVar[tuple[Device, ...]] = ("cpu",)

    def prepare(self, file: Path, version: Path, arithmetic: Arithmetic) -> None:
        """Put the graph in the arithmetics that may be served into the version folder, its proof, and the backlog."""
        proof = self.proof(file, version)
        if arithmetic == "int8" and proof.arithmetic != "int8":
            raise ServerError(
                f"--arithmetic int8: {file} is a float graph; `triton-yolo calibrate` makes one in INT8 of it"
            )
        super().prepare(file, version, arithmetic)
        backlog.create(version.parent)
        if proof.arithmetic == "int8" and arithmetic != "int8":
            from triton_yolo.graphs.onnx_file import read_network
            from triton_yolo.graphs.quantisers import without_quantisers

            try:
                (version / FLOAT_GRAPH).write_bytes(without_quantisers(read_network(file)).SerializeToString())
            except GraphError as error:
                raise ServerError(str(error)) from None


RUNTIME = OpenVino()
