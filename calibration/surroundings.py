"""What the repository around a served graph says of it: its class names, and how images are fitted into its input."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from calibration.errors import CalibrationError
from export.labels import labels_in, read_labels
from export.served_graph import image_size
from server.config import read_config
from server.modules import load_module
from server.repository import TEMPLATE


@dataclass(frozen=True)
class Surroundings:
    """What is not in the graph.

    Attributes:
        name: of the repository, or of the graph where it is in none.
        labels: class names in the network's order.
        letterbox: a Letterbox of the repository's NMS.
        nms: its module postprocess.py.
    """

    name: str
    labels: tuple[str, ...]
    letterbox: Any
    nms: Any


def surroundings(model: onnx.ModelProto, path: Path, labels: Path | None, letterbox: str | None) -> Surroundings:
    """Read the configuration of NMS in the repository that a graph is in, or do without.

    Args:
        model: the graph.
        path: of its file; REPOSITORY/yolo/1/model.onnx where it is in a repository.
        labels: a file with class names that goes first, as does
        letterbox: "centred" or "top-left".

    Raises:
        CalibrationError: nothing says what the classes are called.
        ExportError: the labels cannot be read.
        ServerError: the configuration cannot be read.
    """
    nms = load_module(TEMPLATE / "nms" / "1" / "postprocess.py")
    found, name, folders = {}, path.stem, path.resolve().parents
    if len(folders) > 2 and (config := folders[2] / "nms" / "config.pbtxt").is_file():
        found = {key: value.string_value for key, value in read_config(config).parameters.items()}
        name = folders[2].name
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    names = read_labels(labels) if labels else json.loads(found.get("labels", "null")) or labels_in(metadata)
    if not names:
        raise CalibrationError(f"nothing says what the classes of {path} are called: give --labels")
    place = letterbox or found.get("letterbox", nms.PLACES[0])
    return Surroundings(name, tuple(names), nms.Letterbox(*image_size(model), place == nms.PLACES[0]), nms)
