"""How a graph is served: what a network that is exported will have, and what a graph's own repository says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx

from triton_yolo.export.labels import labels_in, read_labels
from triton_yolo.export.recognise import RecognisedNetwork
from triton_yolo.export.served_graph import image_size, rows_of
from triton_yolo.nms.letterbox import PLACES, Letterbox
from triton_yolo.nms.served_model import ServedModel
from triton_yolo.nms.thresholds import Thresholds
from triton_yolo.repository import DEFAULT_REPOSITORY, read_served_model, repository_of


def usual_thresholds(final: bool) -> Thresholds:
    """Return the default repository's thresholds.

    Args:
        final: the network suppresses overlapping boxes by itself, so that NMS lets every box pass.
    """
    usual = read_served_model().thresholds
    return replace(usual, iou=1.0) if final else usual


def served_model_for(recognised: RecognisedNetwork, graph: onnx.ModelProto, max_detections: int) -> ServedModel:
    """Return how a network will be served.

    Args:
        recognised: the network.
        graph: that is served of it.
        max_detections: the most detections of an image.
    """
    thresholds = usual_thresholds(recognised.head.final)
    return ServedModel(recognised.labels, recognised.letterbox, thresholds, rows_of(graph), max_detections)


def served_model_of(
    graph: onnx.ModelProto, path: Path, labels: Path | None = None, letterbox: str | None = None
) -> ServedModel:
    """Return how a graph is served, by the repository that it is in, or by the default one where it is in none.

    Args:
        graph: that is served.
        path: of its file; REPOSITORY/yolo/1/model.onnx where it is in a repository.
        labels: file with class names, which go before the repository's; where neither has any, the graph's.
        letterbox: "centred" or "top-left", which goes before the repository's.

    Returns:
        without labels where nothing names the classes.

    Raises:
        ExportError: the labels cannot be read, or it is no served graph.
        RepositoryError: the repository's configuration cannot be read.
    """
    repository = repository_of(path)
    served = read_served_model(repository or DEFAULT_REPOSITORY)
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    names = read_labels(labels) if labels else (repository and served.labels) or labels_in(metadata) or ()
    height, width = image_size(graph)
    fitted = replace(served.letterbox, height=height, width=width) if repository else Letterbox(height, width)
    if letterbox:
        fitted = replace(fitted, centred=letterbox == PLACES[0])
    return replace(served, labels=names, letterbox=fitted, top_k=rows_of(graph))
