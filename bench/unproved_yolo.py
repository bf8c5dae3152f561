"""The server's network without its proof, which bench.arithmetic starts to see what the proof costs."""

from __future__ import annotations

from pathlib import Path

from triton_yolo.contract import GRAPH_FILE
from triton_yolo.server.runtimes.openvino import model
from triton_yolo.server.runtimes.openvino.engine import Engine


class TritonPythonModel(model.TritonPythonModel):
    """Compiles the graph in its own arithmetic, whether or not it is right here."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compile both halves of the engine."""
        self.engine = Engine(Path(args["model_repository"], args["model_version"], GRAPH_FILE))
        list(self.engine.ways())
