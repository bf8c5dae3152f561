"""The server's network without its proof, which bench.arithmetic starts to see what the proof costs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "server" / "models"))  # where the others have links
import yolo_cpu
from openvino_engine import Engine


class TritonPythonModel(yolo_cpu.TritonPythonModel):
    """Compiles the graph in its own arithmetic, whether or not it is right here."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compile both halves of the engine."""
        self.engine = Engine(Path(args["model_repository"], args["model_version"], yolo_cpu.GRAPH))
        list(self.engine.ways())
