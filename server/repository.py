"""Composes, out of a model repository for GPU containers, one that runs on Python models alone."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from google.protobuf import text_format

from server.config import Device, as_python_model, read_config, stand_in_for
from server.errors import ServerError

TEMPLATE = Path(__file__).resolve().parents[1] / "model_repository"  # the project's own, of the default model
MODELS = Path(__file__).parent / "models"
GRAPH = "model.onnx"
ONNX_HINT = "it is the graph that `python -m export` writes"
MISSING = {GRAPH: ONNX_HINT, "dali.py": "it defines the DALI pipeline of this model"}
# What the Python models import, each from its own folder.
MODULES = (
    "cpu_pipeline.py",
    "device_memory.py",
    "engine.py",
    "gpu_pipeline.py",
    "graph.py",
    "images.py",
    "pipeline.py",
    "restartable.py",
)


def compose(source: Path, target: Path, device: Device = "cpu", native: Collection[str] = ()) -> list[str]:
    """Write the runtime repository: links to the source's files, derived configurations where a backend is missing.

    Args:
        source: the model repository, as a GPU container mounts it.
        target: an existing folder to fill.
        device: where Python models compute.
        native: backends that the server has, whose models run as they are.

    Returns:
        the names of the models.

    Raises:
        ServerError: the source is no model repository, or lacks a file.
    """
    if not source.is_dir():
        raise ServerError(f"no model repository at {source}: give its folder with --repository")
    folders = sorted(path.parent for path in source.glob("*/config.pbtxt"))
    if not folders:
        raise ServerError(f"{source} is not a model repository: none of its folders holds a config.pbtxt")
    for folder in folders:
        _compose_model(folder, target / folder.name, device, native)
    return [folder.name for folder in folders]


def _compose_model(source: Path, target: Path, device: Device, native: Collection[str]) -> None:
    config = read_config(source / "config.pbtxt")
    needed = stand_in_for(config, native)
    if needed is None:
        shutil.copytree(source, target)
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
    (target / "config.pbtxt").write_text(text_format.MessageToString(as_python_model(config, device)))
    (version / "model.py").symlink_to(implementation)
    for module in MODULES:
        (version / module).symlink_to(MODELS / module)
    if device == "gpu" and needed == GRAPH:
        from server.gpu_graph import gpu_graph  # takes a second to import, and the server on the CPU needs none of it

        (version / needed).write_bytes(gpu_graph(work).SerializeToString())
    else:
        (version / needed).symlink_to(work)


def _implementation(name: str, device: Device) -> Path | None:
    """The Python model of that name: one for both devices, or one for each."""
    files = (MODELS / f"{name}.py", MODELS / f"{name}_{device}.py")
    return next((file for file in files if file.is_file()), None)
