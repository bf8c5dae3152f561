"""Finds out what a network's input takes and what its outputs mean; errors say which option tells what it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triton_yolo.contract import GRAPH_NAME
from triton_yolo.export.errors import ExportError
from triton_yolo.export.heads import HEADS
from triton_yolo.export.heads.base import Head, Predictions
from triton_yolo.export.heads.boxes import BoxCoding
from triton_yolo.export.inputs import convention_of, read_letterbox, read_pixels
from triton_yolo.export.labels import labels_in
from triton_yolo.export.layout import Layout, find_layout, seen_in
from triton_yolo.export.network import Network, noise
from triton_yolo.export.pixels import PixelFormat
from triton_yolo.nms.letterbox import Letterbox

EXPLAINED = 0.9  # share of the boxes that a coding has to explain; where nothing is seen, boxes may be arbitrary
TASKS = {
    "classify": "a classifier",
    "segment": "a segmentation network",
    "pose": "a pose network",
    "obb": "a detector of rotated boxes",
}  # as Ultralytics calls them in the metadata

_Grid = tuple[npt.NDArray[np.float64], int]  # cells [A, 3] and anchors a cell


@dataclass(frozen=True)
class ExportOptions:
    """What a user says about a network; None leaves it to the network itself."""

    head: str | None = None
    pixels: PixelFormat | None = None
    centred: bool | None = None
    rounding: str | None = None
    labels: tuple[str, ...] | None = None
    every_class: bool = False


@dataclass(frozen=True)
class RecognisedNetwork:
    """A network with the meaning of its input and outputs.

    Attributes:
        head: layout of the predictions.
        outputs: names of the outputs that are used: one, or boxes and scores.
        features_first: the predictions are [N, features, A], not [N, A, features].
        classes: their number.
        labels: their names.
        pixels: what the input takes.
        letterbox: how images are fitted into the input.
        cells: float64 [A, 3], column, row and stride in pixels of the cell of each anchor; empty without a grid.
        notes: for the user.
        every_class: a box counts once for each class, with that class's score; else for its best class only.
    """

    head: Head
    outputs: tuple[str, ...]
    features_first: bool
    classes: int
    labels: tuple[str, ...]
    pixels: PixelFormat
    letterbox: Letterbox
    cells: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()
    every_class: bool = False


def recognise(network: Network, options: ExportOptions) -> RecognisedNetwork:
    """Read a network: from its metadata, the shapes of its outputs, and what it answers to a picture of noise.

    Args:
        network: to read.
        options: take precedence over what is recognised.

    Raises:
        ExportError: it is no detector, or could be several things; lists what was seen.
    """
    if network.original.model.graph.name == GRAPH_NAME:
        raise ExportError("this is a served graph already: give the network that it was made of")
    task = network.metadata.get("task", "detect")
    if task != "detect":
        raise ExportError(
            f"this is {TASKS.get(task, 'no detector')} (the metadata says that the network's task is {task}), and "
            "triton-yolo serves detectors: export the detection network"
        )
    convention = convention_of(network)
    wanted = options.head or (convention.head if convention else None)
    labels = options.labels or labels_in(network.metadata)
    layout = find_layout(network, wanted)
    predictions = _predictions(network, layout, labels, HEADS[wanted] if wanted else None)
    head = HEADS[wanted] if wanted else _head(predictions)
    classes = head.check(predictions)
    notes = []
    if labels is None:
        if head.final:
            raise ExportError("an end-to-end graph does not say how many classes it has: name them with --labels FILE")
        labels = tuple(f"class{i}" for i in range(classes))
        notes.append(f"no class names in the file: they are class0 to class{classes - 1}; --labels FILE names them")
    if options.every_class and head.final:
        raise ExportError(f"{head.name} ({head.families}) answers with one class for each box: leave out --classes all")
    pixels, more = read_pixels(network, head, options.pixels, options.centred)
    return RecognisedNetwork(
        head,
        layout.outputs,
        layout.features_first,
        classes,
        labels,
        pixels,
        read_letterbox(network, head, options.centred, options.rounding),
        predictions.cells,
        (*notes, *more),
        options.every_class and classes > 1,
    )


def _predictions(network: Network, layout: Layout, labels: tuple[str, ...] | None, wanted: Head | None) -> Predictions:
    """Run the network on noise, and classify what its rows hold."""
    seen, rows = seen_in(network), layout.rows(network.original.run(noise(network)))
    if not np.isfinite(rows).all():
        raise ExportError(
            f"{seen}: there are infinite or undefined numbers among its predictions of a picture of noise"
        )
    outputs = len(layout.outputs)
    if wanted and not wanted.fits(outputs, layout.final):
        raise ExportError(f"{seen}, which --head {wanted.name} ({wanted.families}) does not have")
    codings = {wanted.boxes} if wanted else {head.boxes for head in HEADS.values()}
    boxes, (cells, each) = _boxes(rows, layout, sorted(codings, key=lambda coding: coding.precedence))
    return Predictions(seen, outputs, layout.features_first, layout.final, rows, boxes, cells, each, labels)


def _boxes(
    rows: npt.NDArray[np.float64], layout: Layout, codings: Sequence[BoxCoding]
) -> tuple[BoxCoding | None, _Grid]:
    """Return the coding and the grid that explain nearly all boxes, the first of them."""
    for grid in layout.grids:
        cells = np.tile(grid, (len(rows) // len(grid), 1))
        for coding in codings:
            if coding.explains(rows[:, :4], cells).all(axis=1).mean() >= EXPLAINED:
                return coding, (grid, len(grid) // len(np.unique(grid, axis=0)))
    return None, (layout.grids[0] if layout.grids else np.empty((0, 3)), 1)


def _head(predictions: Predictions) -> Head:
    """Return the head that matches."""
    for head in HEADS.values():
        if head.matches(predictions):
            return head
    if predictions.boxes is None:
        why = "its boxes lie neither around their cells nor in them"
    else:
        why = f"its boxes are {predictions.boxes.name}, {'with' if predictions.objectness else 'without'} objectness"
    known = "; ".join(f"{head.name} ({head.families})" for head in HEADS.values())
    raise ExportError(f"{predictions.seen}, but {why}: say with --head which it is: {known}")
