"""What the repository around a served graph says of it: its class names, and how images are fitted into its input."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import onnx

from triton_yolo.export.labels import labels_in, read_labels
from triton_yolo.export.served_graph import image_size
from triton_yolo.nms.letterbox import Letterbox
from triton_yolo.nms.thresholds import Thresholds
from triton_yolo.repository import DEFAULT_REPOSITORY, read_config

NMS_CONFIG = Path("nms", "config.pbtxt")
SHAPE = {"letterbox": "centred"}  # of a graph in no repository


@dataclass(frozen=True)
class Surroundings:
    """What is not in the graph.

    Attributes:
        name: of the repository, or of the graph where it is in none.
        labels: class names in the network's order; none where nothing names them.
        letterbox: a Letterbox of the repository's NMS.
        thresholds: defaults of the repository's NMS, or of the project's own where the graph is in no repository.
    """

    name: str
    labels: tuple[str, ...]
    letterbox: Letterbox
    thresholds: Thresholds


def surroundings(model: onnx.ModelProto, path: Path, labels: Path | None, letterbox: str | None) -> Surroundings:
    """Read the configuration of NMS in the repository that a graph is in, or do without.

    Args:
        model: the graph.
        path: of its file; REPOSITORY/yolo/1/model.onnx where it is in a repository.
        labels: a file with class names that goes first, as does
        letterbox: "centred" or "top-left".

    Raises:
        ExportError: the labels cannot be read.
        ServerError: the configuration cannot be read.
    """
    found, name, folders = {}, path.stem, path.resolve().parents
    if len(folders) > 2 and (folders[2] / NMS_CONFIG).is_file():
        found = _parameters(folders[2])
        name = folders[2].name
    usual = _parameters(DEFAULT_REPOSITORY) | found
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    names = read_labels(labels) if labels else json.loads(found.get("labels", "null")) or labels_in(metadata) or ()
    size = dict(zip(("input_height", "input_width"), map(str, image_size(model)), strict=True))
    place = {"letterbox": letterbox} if letterbox else {}
    thresholds = Thresholds(*(float(usual[f"{key}_threshold"]) for key in ("score", "iou")))
    fitted = Letterbox.from_parameters({**SHAPE, **found, **size, **place})
    return Surroundings(name, tuple(names), fitted, thresholds)


def _parameters(repository: Path) -> dict[str, str]:
    config = read_config(repository / NMS_CONFIG)
    return {key: value.string_value for key, value in config.parameters.items()}
