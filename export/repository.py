"""Writes the model repository of another model, from the one that the project serves."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from triton_yolo.contract import INPUT, OUTPUT
from triton_yolo.export.served_proof import proof_of
from triton_yolo.files import write_together
from triton_yolo.repository import DEFAULT_REPOSITORY, GRAPH, read_config

PLAN = Path("yolo", "1", "model.plan")  # built from the graph
DETECTIONS = ("boxes", "scores", "classes")  # outputs with a row for each detection
PASS_ALL = "1"  # the overlap at which NMS lets every box pass
DALI = {
    "HEIGHT, WIDTH": r"^HEIGHT, WIDTH = \d+, \d+",
    "CENTRED": r"^CENTRED = (True|False)",
    "NEAREST": r"^NEAREST = (True|False)",
}


@dataclass(frozen=True)
class Settings:
    """What a model determines in its repository.

    Attributes:
        height: of the network's input.
        width: of the network's input.
        top_k: K, rows of the candidates.
        labels: class names in the network's order.
        centred: where a letterboxed image lies.
        nearest: how its size is rounded.
        final: the network suppresses overlapping boxes by itself.
        most: M, detections of an image that are answered.
    """

    height: int
    width: int
    top_k: int
    labels: tuple[str, ...]
    centred: bool
    nearest: bool
    final: bool
    most: int = 100


def write_repository(target: Path, graph: bytes, proof: bytes, settings: Settings) -> list[Path]:
    """Write every file of a repository, all of them or none.

    Configurations that are there already keep what the model does not determine: batching, instances, thresholds.

    Args:
        target: folder of the repository.
        graph: the served graph.
        proof: of it, what a ServedProof's file holds.
        settings: what goes into the configurations.

    Returns:
        files that were removed, because they were built from another graph.

    Raises:
        ServerError: a configuration that is there is none of Triton's.
        OSError: a file cannot be written.
    """
    files = {target / GRAPH: graph, proof_of(target / GRAPH): proof}
    for folder in sorted(path.parent for path in DEFAULT_REPOSITORY.glob("*/config.pbtxt")):
        there = target / folder.name / "config.pbtxt"
        files[there] = _config(there if there.exists() else folder / "config.pbtxt", settings)
        for pattern in (".gitkeep", "*.py"):  # Triton wants a version folder, even of an ensemble
            for source in sorted(folder.glob(f"1/{pattern}")):
                files[target / folder.name / "1" / source.name] = _code(source, settings)
    stale = [path for path in (target / PLAN, target / f"{PLAN}.json") if path.exists()]
    if stale and (target / GRAPH).exists() and (target / GRAPH).read_bytes() == graph:
        stale = []
    write_together(files)
    for path in stale:
        path.unlink()
    return stale


def _config(source: Path, settings: Settings) -> bytes:
    """The configuration with this model's dimensions and parameters; its own text where nothing changes."""
    config = read_config(source)
    changed = ModelConfig()
    changed.CopyFrom(config)
    for tensor in (*changed.input, *changed.output):
        if tensor.name == INPUT:
            tensor.dims[:] = [3, settings.height, settings.width]
        elif tensor.name == OUTPUT:
            tensor.dims[:] = [settings.top_k, 6]
        elif tensor.name in DETECTIONS:
            tensor.dims[0] = settings.most
    if "labels" in changed.parameters:
        values = {
            "input_height": str(settings.height),
            "input_width": str(settings.width),
            "letterbox": "centred" if settings.centred else "top-left",
            "letterbox_rounding": "nearest" if settings.nearest else "down",
            "labels": json.dumps(settings.labels, ensure_ascii=False),
            "iou_threshold": _iou(changed, settings.final),
        }
        for key, value in values.items():
            changed.parameters[key].string_value = value
    text = source.read_text()
    if changed == config:
        return text.encode()
    comment = "".join(takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True)))
    return (comment + text_format.MessageToString(changed, as_utf8=True)).encode()


def _iou(config: ModelConfig, final: bool) -> str:
    there = config.parameters["iou_threshold"].string_value
    if final:
        return PASS_ALL
    if there != PASS_ALL:
        return there
    return str(read_config(DEFAULT_REPOSITORY / "nms" / "config.pbtxt").parameters["iou_threshold"].string_value)


def _code(source: Path, settings: Settings) -> bytes:
    text = source.read_text()
    if source.name == "dali.py":
        values = {
            "HEIGHT, WIDTH": f"{settings.height}, {settings.width}",
            "CENTRED": str(settings.centred),
            "NEAREST": str(settings.nearest),
        }
        for names, pattern in DALI.items():
            text, count = re.subn(pattern, f"{names} = {values[names]}", text, flags=re.MULTILINE)
            if count != 1:
                raise RuntimeError(f"{source} sets {names} {count} times")
    return text.encode()
