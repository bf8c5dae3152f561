"""Composes, out of a model repository for GPU containers, one that runs on Python models alone."""

from __future__ import annotations

import shutil
from pathlib import Path

from google.protobuf import text_format

from server.config import as_python_model, read_config, stand_in_for
from server.errors import ServerError

TEMPLATE = Path(__file__).resolve().parents[1] / "model_repository"  # the project's own, of the default model
MODELS = Path(__file__).parent / "models"
ONNX_HINT = "it is the graph that `python -m export` writes"
MISSING = {"model.onnx": ONNX_HINT, "dali.py": "it defines the DALI pipeline of this model"}


def compose(source: Path, target: Path) -> list[str]:
    """Write the runtime repository: links to the source's files, derived configurations where a backend is missing.

    Args:
        source: the model repository, as a GPU container mounts it.
        target: an existing folder to fill.

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
        _compose_model(folder, target / folder.name)
    return [folder.name for folder in folders]


def _compose_model(source: Path, target: Path) -> None:
    config = read_config(source / "config.pbtxt")
    needed = stand_in_for(config)
    if needed is None:
        shutil.copytree(source, target)
        (target / "1").mkdir(exist_ok=True)  # Triton wants a version folder, and git keeps no empty one
        return
    work = (source / "1" / needed).resolve()
    if not work.is_file():
        raise ServerError(f"{source / '1' / needed} is missing: {MISSING[needed]}")
    implementation = MODELS / f"{source.name}.py"
    if not implementation.is_file():
        raise ServerError(f"{source}: no Python model stands in for a {config.backend or config.platform} model here")
    version = target / "1"
    version.mkdir(parents=True)
    (target / "config.pbtxt").write_text(text_format.MessageToString(as_python_model(config)))
    (version / needed).symlink_to(work)
    (version / "model.py").symlink_to(implementation)
    for shared in ("graph.py", "images.py", "pipeline.py"):
        (version / shared).symlink_to(MODELS / shared)
