"""Triton Python model that runs the served graph with ONNX Runtime on a GPU."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from triton_yolo.contract import GRAPH_FILE
from triton_yolo.export.served_proof import ServedProof, proof_of
from triton_yolo.server.runtimes.device_memory import address_of
from triton_yolo.server.runtimes.handover import Direct
from triton_yolo.server.runtimes.onnxruntime_cuda.engine import Engine
from triton_yolo.server.runtimes.proved import NotProved, choose, record, show_in_metrics, try_out


class TritonPythonModel:
    """Letterboxed pixels on the GPU to candidate boxes, which leave it."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the graph for the batch sizes that the configuration names, run each, and prove each."""
        config = json.loads(args["model_config"])
        self.input = config["input"][0]["name"]
        image = [int(size) for size in config["input"][0]["dims"]]
        folder = Path(args["model_repository"], args["model_version"])
        self.engine = Engine(folder / GRAPH_FILE, image, _batch_sizes(config), int(args["model_instance_device_id"]))
        start = time.perf_counter()
        proof = ServedProof.read(proof_of(folder / GRAPH_FILE))
        try:
            chosen, made = choose([try_out("float16", self.engine, proof)], lambda trial: True)
        except NotProved as error:
            raise pb_utils.TritonModelException(f"the network finds something else on this GPU: {error}") from None
        line = record(folder, chosen, made, time.perf_counter() - start)
        pb_utils.Logger.log_info(f"{config['name']}: {line}")
        self.metrics = show_in_metrics(pb_utils.MetricFamily, config["name"], chosen)
        self.direct = Direct(config["name"], self.respond)

    def finalize(self) -> None:
        """End the watch for standstills."""
        self.direct.close()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests."""
        return self.direct.execute(requests)

    def respond(self, requests: list[Any]) -> list[Any]:
        """Run the images of all requests as one batch."""
        batches = [pb_utils.get_input_tensor_by_name(request, self.input) for request in requests]
        counts = [int(batch.shape()[0]) for batch in batches]
        sources = [b.as_numpy().ctypes.data if b.is_cpu() else address_of(b) for b in batches]
        candidates = self.engine.run(list(zip(sources, counts, strict=True)))
        responses, end = [], 0
        for count in counts:
            start, end = end, end + count
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("candidates", candidates[start:end])]))
        return responses


def _batch_sizes(config: dict[str, Any]) -> list[int]:
    """Return those that TensorRT makes CUDA graphs for, and the largest batch."""
    cuda = config.get("optimization", {}).get("cuda", {})
    return sorted({int(graph["batch_size"]) for graph in cuda.get("graph_spec", [])} | {int(config["max_batch_size"])})
