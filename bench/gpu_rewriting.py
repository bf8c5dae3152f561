"""Command line: python -m bench.gpu_rewriting, what each rewriting of the graph for ONNX Runtime on a GPU gives."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import onnx
import typer

from triton_yolo.cli.exits import leave
from triton_yolo.cli.progress import tracked
from triton_yolo.errors import TritonYoloError
from triton_yolo.export.served_proof import ServedProof
from triton_yolo.files import write_whole
from triton_yolo.graphs.half_precision import halved, name_nodes
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.graphs.quantisers import without_quantisers
from triton_yolo.machine import describe_gpu, describe_machine
from triton_yolo.repository import DEFAULT_REPOSITORY, GRAPH_PATH
from triton_yolo.server.runtimes.onnxruntime_cuda import cuda_operators
from triton_yolo.server.runtimes.onnxruntime_cuda.late_decoding import decode_late

ROOT = Path(__file__).resolve().parents[1]
SIZES = (1, 8)  # images at a time
ROUNDS, RUNS = 30, 20  # rounds in which all variants take turns, and runs of each in a round
# What keeps each of the operator rewritings from happening.
OPERATORS: dict[str, tuple[str, Any]] = {
    "average as convolution": ("_averages", lambda node: False),
    "expansion": ("_times", lambda node, build: None),
    "channels last": ("PLANES", -1),
}


def main(
    graph: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The served graph.")] = (
        DEFAULT_REPOSITORY / GRAPH_PATH
    ),
    out: Annotated[Path, typer.Option(help="File for the results.")] = ROOT / "bench/results/gpu-rewriting.json",
) -> None:
    """Measure the network alone with no rewriting, each by itself and all of them, in turn, on the GPU."""
    from triton_yolo.server.runtimes.onnxruntime_cuda.engine import Engine  # needs CUDA

    try:
        around = {**describe_machine(), **describe_gpu()}
        proof = ServedProof.carried_by(graph)
        engines, nodes = {}, {}
        with tempfile.TemporaryDirectory() as folder:
            for name, model in tracked(_variants(graph), len(OPERATORS) + 4, "Compiling"):
                path = Path(folder, "model.onnx")
                path.write_bytes(model.SerializeToString())
                engines[name] = Engine(path, proof.pixels.shape[1:], SIZES, 0)
                nodes[name] = len(model.graph.node)
                for way in engines[name].ways():
                    if not (found := proof.compare(list(way(proof.pixels)), "float16")).holds:
                        raise TritonYoloError(f"{name}: {found}")
    except TritonYoloError as error:
        leave("python -m bench.gpu_rewriting", str(error))
    seconds: dict[int, dict[str, list[float]]] = {size: {name: [] for name in engines} for size in SIZES}
    for _ in tracked(range(ROUNDS), ROUNDS, "Measuring"):
        for size in SIZES:
            for name, engine in engines.items():
                start = time.perf_counter()
                for _ in range(RUNS):
                    engine.run([(engine.images, size)])
                seconds[size][name].append((time.perf_counter() - start) / RUNS)
    rows = {
        name: {"nodes": nodes[name]}
        | {
            f"batch_{size}": {
                "median_us": round(float(np.median(taken[name])) * 1e6, 1),
                "ratio": round(float(np.median(np.divide(taken[name], taken["none"]))), 3),
            }
            for size, taken in seconds.items()
        }
        for name in engines
    }
    content = {"date": date.today().isoformat(), "graph": graph.name, **around, "rounds": ROUNDS, "variants": rows}
    write_whole(out, f"{json.dumps(content, indent=1)}\n".encode())
    typer.echo(json.dumps(rows, indent=1))


def _variants(path: Path) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Yield the graph in float16, rewritten in each way; the first is "none"."""
    model = without_quantisers(read_network(path))
    name_nodes(model)
    plain = halved(model)
    yield "none", plain
    yield "late decoding", decode_late(plain)
    for name in OPERATORS:
        with ExitStack() as stack:
            for other, (attribute, nothing) in OPERATORS.items():
                if other != name:
                    stack.enter_context(patch.object(cuda_operators, attribute, nothing))
            yield name, cuda_operators.with_cuda_operators(plain)
    yield "all operators", cuda_operators.with_cuda_operators(plain)
    yield "all", cuda_operators.with_cuda_operators(decode_late(plain))


if __name__ == "__main__":
    typer.run(main)
