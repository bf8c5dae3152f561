"""What INT8 graphs are measured in: the fastest runtime that computes them right on this processor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import onnx
import openvino as ov

from triton_yolo.contract import OUTPUT
from triton_yolo.export.served_proof import ServedProof
from triton_yolo.graphs.runner import Runner
from triton_yolo.server.runtimes.openvino.graph import read_graph

Candidates = npt.NDArray[np.float32]  # [K, 6]
Run = Callable[[npt.NDArray[np.uint8]], Candidates]  # of pixels uint8 [3, H, W]


@dataclass(frozen=True)
class Runtime:
    """Something that runs served graphs.

    Attributes:
        name: for the report.
        load: compiles a graph.
        said: how it was proved.
    """

    name: str
    load: Callable[[onnx.ModelProto], Run]
    said: str = ""


def openvino_engine(model: onnx.ModelProto, int8: bool = True) -> Run:
    """Compile a served graph as the server on the CPU does: one image, float32 where it is not INT8.

    Args:
        model: the graph.
        int8: multiply INT8 where the graph does; else round to INT8, and multiply in float32.
    """
    core = ov.Core()
    graph = read_graph(core, model.SerializeToString())
    options = {"INFERENCE_PRECISION_HINT": "f32"} | ({} if int8 else {"LP_TRANSFORMS_MODE": "NO"})
    request = core.compile_model(graph, "CPU", options).create_infer_request()

    def run(pixels: npt.NDArray[np.uint8]) -> Candidates:
        request.infer({0: pixels[None]})
        return np.array(request.get_output_tensor(0).data[0])

    return run


def onnxruntime_engine(model: onnx.ModelProto) -> Run:
    """Load a served graph in ONNX Runtime, which computes Q/DQ pairs step by step."""
    runner = Runner(model)

    def run(pixels: npt.NDArray[np.uint8]) -> Candidates:
        return np.asarray(runner.run(pixels[None])[OUTPUT][0])

    return run


# Fastest first; the last one makes the proofs, and needs none.
RUNTIMES = (
    Runtime("OpenVINO", openvino_engine),
    Runtime("OpenVINO without INT8 kernels", partial(openvino_engine, int8=False)),
    Runtime("ONNX Runtime", onnxruntime_engine, "the reference itself"),
)


def proved_runtime(graph: onnx.ModelProto, proof: ServedProof) -> Runtime:
    """Return the fastest runtime that finds in a quantised graph what its proof says.

    OpenVINO's INT8 kernels for processors without VNNI add products in 16 bits, which overflow.

    Args:
        graph: with as much in INT8 as any that will be measured.
        proof: of the graph.
    """
    wrong = ""
    for runtime in RUNTIMES[:-1]:
        run = runtime.load(graph)
        comparison = proof.compare([run(picture) for picture in proof.pixels], "int8")
        if comparison.holds:
            return Runtime(runtime.name, runtime.load, f"proved: {comparison}{wrong}")
        wrong += f"; {runtime.name} is wrong on this processor: {comparison}"
    return Runtime(RUNTIMES[-1].name, RUNTIMES[-1].load, f"{RUNTIMES[-1].said}{wrong}")
