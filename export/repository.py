"""Writes the model repository of a network, from the default one."""

from __future__ import annotations

import json
from itertools import takewhile
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from triton_yolo.contract import INPUT, OUTPUT
from triton_yolo.dali_definition import DEFINITION, LETTERBOX, letterbox_file
from triton_yolo.export.served_proof import proof_of
from triton_yolo.files import write_together
from triton_yolo.nms.served_model import ServedModel
from triton_yolo.repository import DEFAULT_REPOSITORY, GRAPH_PATH, read_config

PLAN = Path("yolo", "1", "model.plan")  # built from the graph
DETECTIONS = ("boxes", "scores", "classes")  # outputs with a row for each detection
PASS_ALL = "1"  # the overlap at which NMS lets every box pass


def write_repository(target: Path, graph: bytes, proof: bytes, served: ServedModel) -> list[Path]:
    """Write every file of a repository: all of them, or none.

    Configurations that exist keep what the network does not determine: batching, instances, thresholds.

    Args:
        target: folder of the repository.
        graph: the served graph.
        proof: the content of its ServedProof's file.
        served: what goes into the configurations.

    Returns:
        the files that were removed because they were built from another graph.

    Raises:
        RepositoryError: a configuration in the target is not a Triton model configuration.
        OSError: a file cannot be written.
    """
    files = {target / GRAPH_PATH: graph, proof_of(target / GRAPH_PATH): proof}
    for folder in sorted(path.parent for path in DEFAULT_REPOSITORY.glob("*/config.pbtxt")):
        there = target / folder.name / "config.pbtxt"
        files[there] = _config(there if there.exists() else folder / "config.pbtxt", served)
        version = target / folder.name / "1"
        for pattern in (".gitkeep", "*.py"):  # Triton wants a version folder, even of an ensemble
            files |= {version / source.name: source.read_bytes() for source in sorted(folder.glob(f"1/{pattern}"))}
        if version / DEFINITION in files:
            files[version / LETTERBOX] = letterbox_file(served.letterbox)
    stale = [path for path in (target / PLAN, target / f"{PLAN}.json") if path.exists()]
    if stale and (target / GRAPH_PATH).exists() and (target / GRAPH_PATH).read_bytes() == graph:
        stale = []
    write_together(files)
    for path in stale:
        path.unlink()
    return stale


def _config(source: Path, served: ServedModel) -> bytes:
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
