"""Composes, out of a model repository for GPU containers, one that runs on Python models alone."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from google.protobuf import text_format

from export import served_proof
from export.served_proof import ProofError, ServedProof, proof_of
from server.config import Arithmetic, Device, as_python_model, on_gpu, read_config, stand_in_for
from server.errors import ServerError

TEMPLATE = Path(__file__).resolve().parents[1] / "model_repository"  # the project's own, of the default model
MODELS = Path(__file__).parent / "models"
RECORD = "proved.json"  # beside a graph that is served: what was chosen, as models/proved.py leaves it
GRAPH, FLOAT_GRAPH = "model.onnx", "float.onnx"  # the second: the first without its Q/DQ pairs
ONNX_HINT = "it is the graph that `python -m export` writes"
MISSING = {GRAPH: ONNX_HINT, "dali.py": "it defines the DALI pipeline of this model"}
# What the Python models import, each from its own folder.
MODULES = (
    *(
        MODELS / f"{name}.py"
        for name in (
            "cpu_pipeline",
            "device_memory",
            "engine",
            "gpu_pipeline",
            "graph",
            "images",
            "openvino_engine",
            "pipeline",
            "proved",
            "restartable",
        )
    ),
    TEMPLATE / "nms" / "1" / "postprocess.py",
    Path(served_proof.__file__),
)


def compose(
    source: Path,
    target: Path,
    device: Device = "cpu",
    native: Collection[str] = (),
    arithmetic: Arithmetic = "auto",
    gpu: str | None = None,
) -> list[str]:
    """Write the runtime repository: links to the source's files, derived configurations where a backend is missing.

    Args:
        source: the model repository, as a GPU container mounts it.
        target: an existing folder to fill.
        device: where Python models compute.
        native: backends that the server has, whose models run as they are.
        arithmetic: what the network computes in.
        gpu: UUID of the server's GPU, which clients read from the ensembles.

    Returns:
        the names of the models.

    Raises:
        ServerError: the source is no model repository, lacks a file, or has no graph of that arithmetic.
    """
    if not source.is_dir():
        raise ServerError(f"no model repository at {source}: give its folder with --repository")
    folders = sorted(path.parent for path in source.glob("*/config.pbtxt"))
    if not folders:
        raise ServerError(f"{source} is not a model repository: none of its folders holds a config.pbtxt")
    for folder in folders:
        _compose_model(folder, target / folder.name, device, native, arithmetic, gpu)
    return [folder.name for folder in folders]


def _compose_model(
    source: Path, target: Path, device: Device, native: Collection[str], arithmetic: Arithmetic, gpu: str | None
) -> None:
    config = read_config(source / "config.pbtxt")
    needed = stand_in_for(config, native)
    if needed is None:
        shutil.copytree(source, target)
        if gpu and config.platform == "ensemble":
            (target / "config.pbtxt").write_text(text_format.MessageToString(on_gpu(config, gpu)))
        (target / "1").mkdir(exist_ok=True)  # Triton wants a version folder, and git keeps no empty one
        return
    work = (source / "1" / needed).resolve()
    if not work.is_file():
        raise ServerError(f"{source / '1' / needed} is missing: {MISSING[needed]}")
    implementation = _implementation(source.name, device)
    if implementation is None:
        raise ServerError(f"{source}: no Python model stands in for a {config.backend or config.platform} model here")
    version = target / "1"
    version.mkdir(parents=True)
    (target / "config.pbtxt").write_text(text_format.MessageToString(as_python_model(config, device, arithmetic)))
    (version / "model.py").symlink_to(implementation)
    for module in MODULES:
        (version / module.name).symlink_to(module)
    if needed == GRAPH:
        _compose_graph(work, version, device, arithmetic)
    else:
        (version / needed).symlink_to(work)


def _compose_graph(graph: Path, version: Path, device: Device, arithmetic: Arithmetic) -> None:
    """The graph in the arithmetics that may be served, and its proof."""
    try:
        proof = ServedProof.carried_by(graph)
    except ProofError as error:
        raise ServerError(str(error)) from None
    if arithmetic == "int8" and device == "gpu":
        raise ServerError(
            "--arithmetic int8 takes TensorRT on a GPU, since ONNX Runtime's CUDA provider has no INT8 convolutions: "
            "leave it out for float16, or serve from a container"
        )
    if arithmetic == "int8" and proof.arithmetic != "int8":
        raise ServerError(
            f"--arithmetic int8: {graph} is a float graph; `python -m calibration` makes one in INT8 of it"
        )
    (version / proof_of(graph).name).symlink_to(proof_of(graph))
    if device == "gpu":
        from server.gpu_graph import gpu_graph  # takes a second to import, and the server on the CPU needs none of it

        (version / GRAPH).write_bytes(gpu_graph(graph).SerializeToString())
        return
    (version / GRAPH).symlink_to(graph)
    if proof.arithmetic == "int8" and arithmetic != "int8":
        from server.quantisers import float_graph

        (version / FLOAT_GRAPH).write_bytes(float_graph(graph).SerializeToString())


def _implementation(name: str, device: Device) -> Path | None:
    """The Python model of that name: one for both devices, or one for each."""
    files = (MODELS / f"{name}.py", MODELS / f"{name}_{device}.py")
    return next((file for file in files if file.is_file()), None)
