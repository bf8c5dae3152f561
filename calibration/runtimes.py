"""What INT8 graphs are measured in: the fastest runtime that computes them right on this processor."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from triton_yolo.calibration.parallel import CORES, on_all_cores
from triton_yolo.export.served_proof import ServedProof
from triton_yolo.graphs.runner import Runner
from triton_yolo.openvino_graph import read_graph
from triton_yolo.openvino_runtime import core, ov

Candidates = npt.NDArray[np.float32]  # [K, 6]
Run = Callable[[npt.NDArray[np.uint8]], Candidates]  # of pixels uint8 [3, H, W]
Array = npt.NDArray[Any]
Part = Callable[..., list[Array]]  # of the inputs of a part of a graph, in its order


@dataclass(frozen=True)
class Runtime:
    """Something that runs graphs; what it makes of them can be called by several threads at a time.

    Attributes:
        name: for the report.
        load: compiles a served graph.
        part: compiles a part of one.
        said: how it was proved.
    """

    name: str
    load: Callable[[onnx.ModelProto], Run]
    part: Callable[[onnx.ModelProto], Part]
    said: str = ""


def openvino_engine(model: onnx.ModelProto) -> Run:
    """Compile a served graph as the server on the CPU does: one image, float32 where it is not INT8.

    Args:
        model: the graph.
    """
    return _for_pixels(_compiled(read_graph(model.SerializeToString())))


def openvino_part(model: onnx.ModelProto) -> Part:
    """Compile a part of a served graph; its inputs and outputs are in the order that the part lists them in.

    Args:
        model: the part; it reads one image or what was computed of one.
    """
    graph = core.read_model(model.SerializeToString())
    return _compiled(graph, len(model.graph.output))


def _compiled(graph: ov.Model, outputs: int = 1) -> Part:
    """Compile a graph to run on one core for each thread that calls it: that wastes least."""
    options = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": CORES, "INFERENCE_NUM_THREADS": CORES}
    options["ENABLE_CPU_PINNING"] = False
    compiled, local = core.compile_model(graph, "CPU", options), threading.local()

    def run(*inputs: Array) -> list[Array]:
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        local.request.infer(dict(enumerate(inputs)), share_inputs=True)
        return [np.array(tensor.data) for tensor in local.request.output_tensors[-outputs:]]

    return run


def _for_pixels(part: Part) -> Run:
    return lambda pixels: np.asarray(part(pixels[None])[0][0])


def onnxruntime_engine(model: onnx.ModelProto) -> Run:
    """Load a served graph in ONNX Runtime, which computes Q/DQ pairs step by step."""
    return _for_pixels(onnxruntime_part(model))


def onnxruntime_part(model: onnx.ModelProto) -> Part:
    """Load a part of a served graph in ONNX Runtime, as openvino_part does."""
    session = Runner(model, threads=1).session
    names = [value.name for value in model.graph.input]
    return lambda *inputs: list(session.run(None, dict(zip(names, inputs, strict=True))))


# Fastest first; the last one makes the proofs, and needs none.
RUNTIMES = (
    Runtime("OpenVINO", openvino_engine, openvino_part),
    Runtime("ONNX Runtime", onnxruntime_engine, onnxruntime_part, "the reference itself"),
)


def proved_runtime(graph: onnx.ModelProto, proof: ServedProof) -> Runtime:
    """Return the fastest runtime that finds in a quantised graph what its proof says.

    OpenVINO's INT8 kernels for processors without VNNI add products in 16 bits, which overflow. OpenVINO without them
    (LP_TRANSFORMS_MODE=NO) is no alternative: every eighth time that release 2026.4 compiled the default graph so, it
    found something else, in every instruction set.

    Args:
        graph: with as much in INT8 as any that will be measured.
        proof: of the graph.
    """
    wrong = ""
    for runtime in RUNTIMES[:-1]:
        run = runtime.load(graph)
        comparison = proof.compare(list(on_all_cores(run, proof.pixels)), "int8")
        if comparison.holds:
            return replace(runtime, said=f"proved: {comparison}{wrong}")
        wrong += f"; {runtime.name} is wrong on this processor: {comparison}"
    return replace(RUNTIMES[-1], said=f"{RUNTIMES[-1].said}{wrong}")
