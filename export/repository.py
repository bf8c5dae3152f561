"""Writes the model repository of a network, from the default one."""

from __future__ import annotations

import json
import shutil
from itertools import takewhile
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from triton_yolo.clients.stream.edge import GRAPH
from triton_yolo.contract import FEATURES, GRAPH_FILE, HEAD_MODEL, INPUT, OUTPUT
from triton_yolo.dali_definition import DEFINITION, LETTERBOX, letterbox_file
from triton_yolo.export.served_proof import proof_of
from triton_yolo.export.split.halves import Halves
from triton_yolo.export.split.proved import Split
from triton_yolo.files import write_together
from triton_yolo.nms.served_model import ServedModel
from triton_yolo.repository import DEFAULT_REPOSITORY, GRAPH_PATH, read_config

PLAN = GRAPH_PATH.with_suffix(".plan")  # built from the graph
SPLIT_MODELS = Path(__file__).parent / "split" / "models"  # that a graph in two halves has beside the others
HEAD, EDGE = Path(HEAD_MODEL, "1", GRAPH_FILE), Path(GRAPH)  # the halves, in a repository
DETECTIONS = ("boxes", "scores", "classes")  # outputs with a row for each detection
PASS_ALL = "1"  # the overlap at which NMS lets every box pass


def write_repository(
    target: Path, graph: bytes, proof: bytes, served: ServedModel, split: Split | None = None
) -> list[Path]:
    """Write every file of a repository: all of them, or none.

    Configurations that exist keep what the network does not determine: batching, instances, thresholds.

    Args:
        target: folder of the repository.
        graph: the served graph.
        proof: the content of its ServedProof's file.
        served: what goes into the configurations.
        split: the halves of the graph, None without.

    Returns:
        the files and folders that were removed because they were built from another graph.

    Raises:
        RepositoryError: a configuration in the target is not a Triton model configuration.
        OSError: a file cannot be written.
    """
    same = (target / GRAPH_PATH).exists() and (target / GRAPH_PATH).read_bytes() == graph
    files = {target / GRAPH_PATH: graph, proof_of(target / GRAPH_PATH): proof}
    for folder in _models(DEFAULT_REPOSITORY):
        files |= _model(folder, target, served)
    stale = [] if same else [*_plan(target, GRAPH_PATH), *(() if split else _halves(target))]
    if split:
        halves, gone = _split_files(target, split, served)
        files, stale = files | halves, stale + gone
    write_together(files)
    _remove(stale)
    return stale


def write_split(target: Path, split: Split, served: ServedModel) -> list[Path]:
    """Write the halves of the graph that a repository serves beside it: all of their files, or none.

    Args:
        target: folder of the repository.
        split: the halves.
        served: how the graph is served.

    Returns:
        the files that were removed because they were built from other halves.

    Raises:
        RepositoryError: a configuration in the target is not a Triton model configuration.
        OSError: a file cannot be written.
    """
    files, stale = _split_files(target, split, served)
    write_together(files)
    _remove(stale)
    return stale


def _split_files(target: Path, split: Split, served: ServedModel) -> tuple[dict[Path, bytes], list[Path]]:
    """Return the files of the halves, and what was built from others."""
    files = {
        target / EDGE: split.edge,
        proof_of(target / EDGE): split.edge_proof,
        target / HEAD: split.head,
        proof_of(target / HEAD): split.head_proof,
    }
    for folder in _models(SPLIT_MODELS):
        files |= _model(folder, target, served, split.halves)
    same = (target / HEAD).exists() and (target / HEAD).read_bytes() == split.head
    return files, [] if same else _plan(target, HEAD)


def _models(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/config.pbtxt"))


def _model(folder: Path, target: Path, served: ServedModel, halves: Halves | None = None) -> dict[Path, bytes]:
    """Return the files of a model but for a network's graph."""
    there = target / folder.name / "config.pbtxt"
    files = {there: _config(there if there.exists() else folder / "config.pbtxt", served, halves)}
    version = target / folder.name / "1"
    for pattern in (".gitkeep", "*.py"):  # Triton wants a version folder, even of an ensemble
        files |= {version / source.name: source.read_bytes() for source in sorted(folder.glob(f"1/{pattern}"))}
    if version / DEFINITION in files:
        files[version / LETTERBOX] = letterbox_file(served.letterbox)
    return files


def _plan(target: Path, graph: Path) -> list[Path]:
    """Return the files of a plan that was built from a graph."""
    plan = target / graph.with_suffix(".plan")
    return [path for path in (plan, Path(f"{plan}.json")) if path.exists()]


def _halves(target: Path) -> list[Path]:
    """Return what a repository has of a graph in two halves."""
    edge = target / EDGE
    places = [edge, proof_of(edge), *(target / folder.name for folder in _models(SPLIT_MODELS))]
    return [path for path in places if path.exists()]


def _remove(stale: list[Path]) -> None:
    for path in stale:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _config(source: Path, served: ServedModel, halves: Halves | None) -> bytes:
    """Return a configuration with the network's dimensions and parameters; its own text if nothing changes."""
    config = read_config(source)
    changed = ModelConfig()
    changed.CopyFrom(config)
    for tensor in (*changed.input, *changed.output):
        if tensor.name == INPUT:
            tensor.dims[:] = [3, served.letterbox.height, served.letterbox.width]
        elif tensor.name == OUTPUT:
            tensor.dims[:] = [served.top_k, 6]
        elif tensor.name in DETECTIONS:
            tensor.dims[0] = served.max_detections
        elif tensor.name == FEATURES and halves:
            tensor.dims[:] = [halves.length]
    if "network" in changed.parameters and halves:
        changed.parameters["network"].string_value = halves.network
    if "labels" in changed.parameters:
        values = {
            **served.letterbox.parameters(),
            "labels": json.dumps(served.labels, ensure_ascii=False),
            "iou_threshold": _iou(changed, served),
        }
        for key, value in values.items():
            changed.parameters[key].string_value = value
    text = source.read_text()
    if changed == config:
        return text.encode()
    comment = "".join(takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True)))
    result: bytes = (comment + text_format.MessageToString(changed, as_utf8=True)).encode()
    return result


def _iou(config: ModelConfig, served: ServedModel) -> str:
    """Return the overlap: the configuration's, unless this network or the last one suppresses boxes itself."""
    there = config.parameters["iou_threshold"].string_value
    if served.thresholds.iou < 1 and there != PASS_ALL:
        return str(there)
    return PASS_ALL if served.thresholds.iou == 1 else str(served.thresholds.iou)
