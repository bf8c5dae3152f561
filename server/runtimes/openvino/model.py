"""Triton Python model that runs the served graph with OpenVINO on the CPU."""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from triton_yolo.contract import GRAPH_FILE
from triton_yolo.export.served_proof import ServedProof, proof_of
from triton_yolo.server.runtimes.backlog import Backlog
from triton_yolo.server.runtimes.handover import Answer, Handover, failure
from triton_yolo.server.runtimes.openvino import FLOAT_GRAPH
from triton_yolo.server.runtimes.openvino.engine import Engine
from triton_yolo.server.runtimes.openvino.workers import Candidates
from triton_yolo.server.runtimes.proved import NotProved, Trial, choose, record, show_in_metrics, try_out
from triton_yolo.server.runtimes.waiting import is_urgent

# Flags of processors whose INT8 instructions do not saturate (proc(5)); OpenVINO's kernels for others do.
INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}
REMEDY = "no arithmetic finds what it must on this processor, so that nothing is served"


class TritonPythonModel:
    """Letterboxed pixels, or the features of a server half, to candidate boxes."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compile the graph in the arithmetic that is right here, and fastest.

        INT8 is taken without trying others where the processor has instructions for it.
        """
        start = time.perf_counter()
        folder = Path(args["model_repository"], args["model_version"])
        config = json.loads(args["model_config"])
        self.input = config["input"][0]["name"]
        wanted = config["parameters"]["arithmetic"]["string_value"]
        try:
            chosen, made = choose(_trials(folder, wanted), _is_known_to_be_fastest)
        except NotProved as error:
            raise pb_utils.TritonModelException(f"{REMEDY}: {error}") from None
        line = record(folder, chosen, made, time.perf_counter() - start)
        pb_utils.Logger.log_info(f"{config['name']}: {line}")
        self.metrics = show_in_metrics(pb_utils.MetricFamily, config["name"], chosen)
        engine: Engine = chosen.engine
        backlog = Backlog.of(Path(args["model_repository"]))
        self.handover = Handover(config["name"], 4 * engine.cores, own=backlog)
        self.workers = engine.workers()
        ctypes.CDLL(None).malloc_trim(0)  # what reading and compiling took

    def finalize(self) -> None:
        """Let the threads end."""
        self.workers.close()
        self.handover.standstill.close()

    def execute(self, requests: list[Any]) -> list[None]:
        """Hand the images of all requests over to the threads; each request is answered as soon as it is done."""
        with self.handover.standstill:
            for request in requests:
                images = pb_utils.get_input_tensor_by_name(request, self.input).as_numpy()
                answer = self.handover.take(request, len(images))
                self.workers.submit(images, partial(_respond, request, answer), is_urgent(request))
        return [None] * len(requests)


def _respond(request: Any, answer: Answer, candidates: Candidates | Exception) -> None:
    """Send what came of a request, which was kept for its images."""
    if isinstance(candidates, Exception):
        answer(failure(candidates))
    else:
        answer(pb_utils.InferenceResponse([pb_utils.Tensor("candidates", candidates)]))


def _trials(folder: Path, wanted: str) -> Iterator[Trial]:
    """Yield the trial of INT8 before that of float32, where the graph has both."""
    proof = ServedProof.read(proof_of(folder / GRAPH_FILE))
    graphs = {"int8": GRAPH_FILE, "float32": FLOAT_GRAPH} if proof.arithmetic == "int8" else {"float32": GRAPH_FILE}
    for arithmetic, graph in graphs.items():
        if wanted == "auto" or arithmetic.startswith(wanted):
            yield try_out(arithmetic, Engine(folder / graph), proof)


def _is_known_to_be_fastest(trial: Trial) -> bool:
    if trial.arithmetic != "int8":
        return True
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return not INT8_FLAGS.isdisjoint(flags) and "ONEDNN_MAX_CPU_ISA" not in os.environ
