"""What people write first on the server's side: the network as it was trained, float32 in and float32 out.

Triton imports a copy of this file as the ``model.py`` of a Python model, so it reads nothing of this project.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnxruntime
import triton_python_backend_utils as pb_utils

NETWORK = "network.onnx"


class TritonPythonModel:
    """Normalised pixels to the network's raw output."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network with ONNX Runtime's own defaults."""
        providers = ["CPUExecutionProvider"]
        if args["model_instance_kind"] == "GPU":
            onnxruntime.preload_dlls()
            providers = ["CUDAExecutionProvider"]
        folder = Path(args["model_repository"], args["model_version"])
        self.session = onnxruntime.InferenceSession(str(folder / NETWORK), providers=providers)
        if self.session.get_providers()[0] != providers[0]:
            raise RuntimeError(f"ONNX Runtime has no {providers[0]} here")
        config = json.loads(args["model_config"])
        self.input, self.output = config["input"][0]["name"], config["output"][0]["name"]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Compute one request after the other."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        pixels = pb_utils.get_input_tensor_by_name(request, self.input).as_numpy()
        (rows,) = self.session.run([self.output], {self.input: pixels})
        return pb_utils.InferenceResponse([pb_utils.Tensor(self.output, rows)])
