"""Command line: python -m bench.arithmetic, what the network may be computed in on this processor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import onnx
import typer
from onnx import numpy_helper
from tritonclient.grpc.model_config_pb2 import ModelConfig

from bench.errors import BenchError
from bench.float_graph import NETWORK, float_repository
from bench.origin import measured_on
from triton_yolo import openvino_graph as reading
from triton_yolo.calibration.measure import Evaluator
from triton_yolo.calibration.pictures import annotated, read_pictures
from triton_yolo.calibration.runtimes import Run, onnxruntime_engine, openvino_engine
from triton_yolo.cli.exits import leave
from triton_yolo.clients.coco import read_annotations
from triton_yolo.errors import TritonYoloError
from triton_yolo.export.served_model import served_model_of
from triton_yolo.export.served_proof import Comparison, ServedProof
from triton_yolo.files import write_whole
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.graphs.quantisers import without_quantisers
from triton_yolo.graphs.structure import makers_of
from triton_yolo.repository import DEFAULT_REPOSITORY, GRAPH_PATH
from triton_yolo.server.errors import ServerError
from triton_yolo.server.process import TritonServer, free_addresses
from triton_yolo.server.runtimes.base import RECORD
from triton_yolo.server.runtimes.openvino import OpenVino

ROOT = Path(__file__).resolve().parents[1]
FORCED = {"native": {}, "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2"}}  # environments, by name
ARITHMETICS = ("int8", "float")
STARTS = 5
ROUNDS = 20


def main(
    images: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of labelled images.")],
    annotations: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="COCO annotations of the images.")],
    out: Annotated[Path, typer.Option(help="File for the results.")] = ROOT / "bench/results/arithmetic.json",
    part: Annotated[str, typer.Option(hidden=True, help="What a process of its own measures.")] = "",
) -> None:
    """Measure every arithmetic of the default repository on the CPU, as it is and with AVX2 alone, and its proof.

    Average precision through the server, or in one process where the server refuses to serve; seconds of a start with
    the proof and without; milliseconds of an image in turn; and which faults the proof catches.
    """
    try:
        if part:
            typer.echo(json.dumps(_in_process(images, annotations)))
            return
        result = {
            "measured_on": measured_on(),
            **_measure(images, annotations),
        }
    except TritonYoloError as error:
        leave("python -m bench.arithmetic", str(error))
    text = json.dumps(result, indent=2)
    write_whole(out, f"{text}\n".encode())
    typer.echo(text)


def _measure(images: Path, annotations: Path) -> dict[str, Any]:
    result: dict[str, Any] = {"images": len(read_annotations(annotations).images)}
    for name, variables in FORCED.items():
        typer.echo(f"{name}: in one process", err=True)
        command = [sys.executable, "-m", "bench.arithmetic", "--part", name]
        files = ["--images", str(images), "--annotations", str(annotations)]
        done = subprocess.run([*command, *files], env={**os.environ, **variables}, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"{name}: {done.stderr.strip()}")
        alone = json.loads(done.stdout.splitlines()[-1])
        with patch.dict(os.environ, variables):
            served = {key: _served(repository, key, images, annotations) for key, repository in _repositories()}
            starts = _starts() if name == "native" else None
        result[name] = {"served": served, **alone} | ({"start_seconds": starts} if starts else {})
    return result


def _repositories() -> Iterator[tuple[str, Path]]:
    """Return the default repository by every choice of arithmetic, and with the float graph that it was made from."""
    for arithmetic in ("auto", *ARITHMETICS):
        yield arithmetic, DEFAULT_REPOSITORY
    with tempfile.TemporaryDirectory() as folder:
        yield "float graph", float_repository(NETWORK, DEFAULT_REPOSITORY, Path(folder) / "repository")


def _served(repository: Path, arithmetic: str, images: Path, annotations: Path) -> dict[str, Any]:
    """Return average precision through a server, or what it said when it refused."""
    typer.echo(f"served: {arithmetic}", err=True)
    wanted: Any = arithmetic if arithmetic in ARITHMETICS else "auto"
    try:
        with TritonServer(repository, free_addresses(), lambda line: None, arithmetic=wanted) as server:
            server.wait_until_ready()
            with tempfile.TemporaryDirectory() as folder:
                found = Path(folder, "map.json")
                command = [
                    sys.executable,
                    "-m",
                    "triton_yolo.clients.commands.evaluate",
                    "--url",
                    f"127.0.0.1:{server.addresses.grpc}",
                ]
                files = ["--images", str(images), "--annotations", str(annotations), "--json", str(found)]
                subprocess.run([*command, *files], check=True, capture_output=True)
                figures = json.loads(found.read_bytes())
            return {
                "map50": figures["map50"],
                "map50_95": figures["map50_95"],
                "start_line": server.proved()["yolo"].line,
            }
    except ServerError as error:
        return {"refused": str(error)}


def _starts() -> dict[str, float]:
    """Return the median seconds until a server is ready with and without the proof, in turn, and the network's part."""
    seconds: dict[str, list[float]] = {"with": [], "without": [], "proof_and_compilation": []}
    module = OpenVino.module
    for _ in range(STARTS):
        for name, chosen in (("with", module), ("without", _unproved)):
            with patch.object(OpenVino, "module", chosen):
                start = time.perf_counter()
                with TritonServer(DEFAULT_REPOSITORY, free_addresses(), lambda line: None) as server:
                    server.wait_until_ready()
                    seconds[name].append(time.perf_counter() - start)
                    for path in server.folder.glob(f"models/yolo/1/{RECORD}"):
                        seconds["proof_and_compilation"].append(json.loads(path.read_text())["seconds"])
    return {name: round(float(np.median(values)), 2) for name, values in seconds.items()}


def _unproved(runtime: OpenVino, config: ModelConfig) -> str:
    return "bench.unproved_yolo"


def _in_process(images: Path, annotations: Path) -> dict[str, Any]:
    """Return what a process that was started in an environment finds in it."""
    path = DEFAULT_REPOSITORY / GRAPH_PATH
    graph = read_network(path)
    served = served_model_of(graph, path)
    proof = ServedProof.carried_by(path)
    labelled = read_annotations(annotations)
    known = annotated(labelled, images)
    evaluator = Evaluator.of_annotations(
        labelled, known, read_pictures(list(known), served.letterbox, len(known)), served
    )
    runs = {
        "int8": openvino_engine(graph),
        "float32": openvino_engine(without_quantisers(graph)),
        "reference (ONNX Runtime)": onnxruntime_engine(graph),
    }
    compare = partial(_compared, proof)
    milliseconds = _in_turn({name: run for name, run in runs.items() if "reference" not in name}, proof)
    rows = {}
    for name, run in runs.items():
        found = evaluator.precision(run).overall
        rows[name] = {
            "map50": round(found.ap50, 4),
            "map50_95": round(found.ap50_95, 4),
            "milliseconds": milliseconds.get(name),
            "proof": compare(run).document(),
        }
    return {"in_process": rows, "faults": _faults(graph, proof)}


def _in_turn(runs: Mapping[str, Run], proof: ServedProof) -> dict[str, float]:
    """Return median milliseconds of an image on all cores."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run(proof.pixels[number % len(proof.pixels)])
            taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: round(float(np.median(values)), 1) for name, values in taken.items()}


def _compared(proof: ServedProof, run: Run) -> Comparison:
    return proof.compare([run(picture) for picture in proof.pixels], "float32")


def _faults(graph: onnx.ModelProto, proof: ServedProof) -> dict[str, Any]:
    """Return what the proof says of runtimes and graphs that are wrong."""
    with _without_work_around():
        concatenation = _compared(proof, openvino_engine(graph))
    reference = onnxruntime_engine(graph)
    here = replace(proof, candidates=tuple(reference(picture) for picture in proof.pixels))
    scaled: dict[str, list[str]] = {"caught": [], "detections_stay_the_same": [], "passed": []}
    for node in (node for node in graph.graph.node if node.op_type == "Conv"):
        run = onnxruntime_engine(_scaled(graph, node))
        same = _compared(here, run)
        if not _compared(proof, run).holds:
            scaled["caught"].append(node.name)
        else:
            scaled["passed" if max(same.score, same.pixels) > 0 else "detections_stay_the_same"].append(node.name)
    return {
        "quantisers moved before concatenations": concatenation.document(),
        "planes swapped": _compared(proof, lambda picture: reference(np.ascontiguousarray(picture[::-1]))).document(),
        "weights of one convolution times 1.5": {key: len(names) for key, names in scaled.items()} | {"which": scaled},
    }


@contextmanager
def _without_work_around() -> Iterator[None]:
    as_it_is: Callable[[Any], Any] = lambda graph: graph  # noqa: E731
    with patch.object(reading, "_with_quantisers_behind_concatenations", as_it_is):
        yield


def _scaled(graph: onnx.ModelProto, convolution: onnx.NodeProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    tensors = {tensor.name: tensor for tensor in copy.graph.initializer}
    makers, weights = makers_of(copy), convolution.input[1]
    while weights not in tensors:
        maker = makers[weights]
        weights = maker.input[1] if maker.op_type == "DequantizeLinear" else maker.input[0]
    array = numpy_helper.to_array(tensors[weights])
    tensors[weights].CopyFrom(numpy_helper.from_array((array * 1.5).astype(array.dtype), weights))
    return copy


if __name__ == "__main__":
    typer.run(main)
