"""Command line: triton-yolo plan."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer

from triton_yolo.cli.exits import INTERRUPTED, leave
from triton_yolo.cli.progress import working
from triton_yolo.contract import EDGE_NAME
from triton_yolo.errors import TritonYoloError
from triton_yolo.export.errors import ExportError
from triton_yolo.export.served_graph import input_of
from triton_yolo.export.served_proof import Comparison, ServedProof, proof_of
from triton_yolo.export.tensorrt import HARDWARE, RUNTIMES, Plan, PlanOptions, build, gpu, load_runtime, run_plan
from triton_yolo.files import write_together
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.repository import DEFAULT_REPOSITORY

COMMAND = "triton-yolo plan"
RuntimeName = Enum("RuntimeName", {name: name for name in RUNTIMES}, type=str)  # type: ignore[misc]  # as HeadName
Hardware = Enum("Hardware", {name: name for name in HARDWARE}, type=str)  # type: ignore[misc]

USUAL, ONLY_THIS = RuntimeName("tensorrt"), Hardware("none")


def main(
    graph: Annotated[
        Path,
        typer.Argument(
            metavar="GRAPH.onnx",
            exists=True,
            dir_okay=False,
            help="A served graph.",
            show_default="the default repository's",
        ),
    ] = DEFAULT_REPOSITORY / "yolo" / "1" / "model.onnx",
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="The plan.  [default: model.plan beside the graph]")
    ] = None,
    runtime: Annotated[RuntimeName, typer.Option(help="What builds the plan and will run it.")] = USUAL,
    min_batch: Annotated[int, typer.Option(metavar="N", min=1, help="Smallest batch.")] = 1,
    best_batch: Annotated[int, typer.Option(metavar="N", min=1, help="The batch that it is optimised for.")] = 8,
    max_batch: Annotated[
        int, typer.Option(metavar="N", min=1, help="Largest batch: max_batch_size of the configuration.")
    ] = 32,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Let later minor versions of TensorRT run it.")
    ] = False,
    hardware_compatible: Annotated[Hardware, typer.Option(help="Let other GPUs run it; slower.")] = ONLY_THIS,
    compute_capability: Annotated[
        str | None,
        typer.Option(
            metavar="X.Y", help="Of a GPU that is not in this machine, as in 8.9; for TensorRT for RTX alone."
        ),
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Measurements of earlier builds.  [default: OUT.timing]")
    ] = None,
) -> None:
    """Build the TensorRT plan of a served graph, unless there is one that fits.

    A plan fits one version of TensorRT and one kind of GPU: build it where it will be served. It is written if it
    detects what the graph's proof says. OUT.json says what it was built from, with and for. Ends with status 2 if it
    cannot be built, or detects something else; an older plan stays.
    """
    target = out or graph.with_suffix(".plan")
    cache = timing_cache or Path(f"{target}.timing")
    options = PlanOptions(
        (min_batch, best_batch, max_batch), version_compatible, hardware_compatible.value, compute_capability
    )
    try:
        if not min_batch <= best_batch <= max_batch:
            raise ExportError(f"batches must rise: {min_batch}, {best_batch}, {max_batch}")
        model = read_network(graph)
        input_of(model)
        if model.graph.name == EDGE_NAME:
            raise ExportError(
                "it is the half beside the camera, which finds nothing that a plan could be proved with: build it with "
                "trtexec, and hold that against its proof with triton_yolo.clients.stream.edge.Edge"
            )
        proof = ServedProof.carried_by(graph)
        trt = load_runtime(runtime.value)
        origin = _origin(model, proof_of(graph), f"{runtime.value} {trt.__version__}", options)
        if _fits(target, origin):
            typer.echo(f"{target} is there and fits")
            return
        if origin["gpu"] is None and compute_capability is None:
            raise ExportError(
                "there is no GPU here to build for: build on the machine that will serve the plan"
                + (", or say which with --compute-capability" if runtime.value == "tensorrt-rtx" else "")
            )
        start = time.perf_counter()
        with working(f"Building {target.name} with {origin['runtime']}, which takes minutes"):
            plan = build(trt, model, options, usable_times(cache, target, origin))
        seconds = time.perf_counter() - start
        comparison = _proved(trt, plan, proof, options) if origin["gpu"] and not compute_capability else None
        record = _record(origin, plan, comparison, seconds)
        files = {Path(f"{target}.json"): f"{json.dumps(record, indent=2)}\n".encode(), target: plan.content}
        write_together({cache: plan.timing_cache, **files} if plan.timing_cache else files)
    except TritonYoloError as error:
        leave(COMMAND, f"{graph}: {error}")
    except OSError as error:
        leave(COMMAND, f"cannot write {target}: {error.strerror}")
    except KeyboardInterrupt:
        leave(COMMAND, "interrupted; nothing was written", INTERRUPTED)
    proved = f"proved: {comparison}" if comparison else "not proved: its GPU is not here"
    typer.echo(f"{target}: {len(plan.content):,} bytes, built with {origin['runtime']}; {proved}")


def _proved(trt: Any, plan: Plan, proof: ServedProof, options: PlanOptions) -> Comparison:
    """Run the pictures of the proof in the smallest batches and in large ones.

    Raises:
        ExportError: what is found is something else.
    """
    smallest, _, largest = options.batches
    number = len(proof.pixels)
    for count in (smallest, min(max(smallest, number), largest)):
        batches = np.arange(-(-number // count) * count).reshape(-1, count) % number  # the last one is filled up
        found = np.concatenate([run_plan(trt, plan.content, proof.pixels[batch]) for batch in batches])[:number]
        comparison = proof.compare(list(found), "float16")
        if not comparison.holds:
            raise ExportError(
                f"the plan finds something else than the graph ({comparison}), and was not written: report it with the "
                "versions of TensorRT and driver, or build from the float graph"
            )
    return comparison


def _origin(model: onnx.ModelProto, proof: Path, runtime: str, options: PlanOptions) -> dict[str, Any]:
    """Return what a plan has to be built from, with and for, so that it fits."""
    content = model.SerializeToString(deterministic=True)
    return {
        "graph_sha256": hashlib.sha256(content).hexdigest(),
        "proof_sha256": hashlib.sha256(proof.read_bytes()).hexdigest(),
        "runtime": runtime,
        "gpu": gpu(),
        "options": json.loads(json.dumps(dataclasses.asdict(options))),
    }


def usable_times(cache: Path, target: Path, origin: dict[str, Any]) -> bytes:
    """Measurements of earlier builds, none where OUT.json says that they are another version's or another GPU's."""
    if not cache.exists():
        return b""
    content = cache.read_bytes()
    try:
        record = json.loads(Path(f"{target}.json").read_bytes())
        same = record["timing_cache_sha256"] == hashlib.sha256(content).hexdigest()
        foreign = same and any(record[key] != origin[key] for key in ("runtime", "gpu"))
    except (OSError, ValueError, KeyError, TypeError):
        foreign = False  # TensorRT looks itself
    return b"" if foreign else content


def _fits(target: Path, origin: dict[str, Any]) -> bool:
    """Return whether the plan is there, whole, and of this origin."""
    try:
        record = json.loads(Path(f"{target}.json").read_bytes())
        return bool(
            {key: record[key] for key in origin} == origin
            and record["plan_sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _record(origin: dict[str, Any], plan: Plan, comparison: Comparison | None, seconds: float) -> dict[str, Any]:
    return {
        **origin,
        "plan_sha256": hashlib.sha256(plan.content).hexdigest(),
        "timing_cache_sha256": hashlib.sha256(plan.timing_cache).hexdigest() if plan.timing_cache else None,
        "bytes": len(plan.content),
        "seconds": round(seconds, 1),
        "built": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "proof": comparison.document() if comparison else None,
        "layers": plan.layers,
    }
