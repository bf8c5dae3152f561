"""Finds out what a network's input takes and what its outputs mean, and asks where it cannot tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triton_yolo.contract import GRAPH
from triton_yolo.export.errors import ExportError
from triton_yolo.export.heads import HEADS, Head
from triton_yolo.export.inputs import convention_of, read_letterbox, read_pixels
from triton_yolo.export.labels import labels_in
from triton_yolo.export.layout import Layout, find_layout, seen_in
from triton_yolo.export.network import Network, noise
from triton_yolo.export.pixels import PixelFormat
from triton_yolo.graphs.runner import Arrays

ENOUGH = 0.9  # part of the boxes that a layout has to explain; far from any object a network may answer anything

_Grid = tuple[npt.NDArray[np.float64], int]  # cells [A, 3] and anchors a cell


@dataclass(frozen=True)
class Wishes:
    """What the user said; None leaves it to the network."""

    head: str | None = None
    pixels: PixelFormat | None = None
    centred: bool | None = None
    nearest: bool | None = None
    labels: tuple[str, ...] | None = None
    every_class: bool = False


@dataclass(frozen=True)
class Reading:
    """What a network's input takes and its outputs mean.

    Attributes:
        head: layout of the predictions.
        outputs: names of the outputs that are used: one, or boxes and scores.
        features_first: the predictions are [N, features, A], not [N, A, features].
        classes: their number.
        labels: their names.
        pixels: what the input takes.
        centred: where the letterboxed image lies.
        nearest: how its size is rounded, as Letterbox has it.
        cells: float64 [A, 3], column, row and stride in pixels of the cell of each anchor; empty where the head does
            not need them.
        notes: what the user should know.
        every_class: a box counts once for each class, with its score; else for the best one alone.
    """

    head: Head
    outputs: tuple[str, ...]
    features_first: bool
    classes: int
    labels: tuple[str, ...]
    pixels: PixelFormat
    centred: bool
    nearest: bool
    cells: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()
    every_class: bool = False


def recognise(network: Network, wishes: Wishes) -> Reading:
    """Read a network: from its metadata, the shapes of its outputs, and what it answers to a picture of noise.

    Args:
        network: to read.
        wishes: goes before what is recognised.

    Raises:
        ExportError: it is no detector, or could be several things; lists what was seen.
    """
    if network.original.model.graph.name == GRAPH:
        raise ExportError("this is a served graph already: give the network that it was made of")
    task = network.metadata.get("task", "detect")
    if task != "detect":
        raise ExportError(f"the metadata says that the network's task is {task}; detection alone is served")
    convention = convention_of(network)
    wanted = wishes.head or (convention.head if convention else None)
    layout = find_layout(network, wanted)
    arrays = network.original.run(noise(network))
    labels = wishes.labels or labels_in(network.metadata)
    head, classes, cells = _head(network, layout, arrays, wanted, labels)
    notes = []
    if labels is None:
        if head.final:
            raise ExportError("an end-to-end graph does not say how many classes it has: name them with --labels FILE")
        labels = tuple(f"class{i}" for i in range(classes))
        notes.append(f"no class names in the file: they are class0 to class{classes - 1}; --labels FILE names them")
    if wishes.every_class and head.final:
        raise ExportError(f"{head.name} ({head.families}) answers with one class for each box: leave out --classes all")
    pixels, more = read_pixels(network, head, wishes.pixels, wishes.centred)
    centred, nearest = read_letterbox(network, head, wishes.centred, wishes.nearest)
    return Reading(
        head,
        layout.outputs,
        layout.features_first,
        classes,
        labels,
        pixels,
        centred,
        nearest,
        cells,
        (*notes, *more),
        wishes.every_class and classes > 1,
    )


def _head(
    network: Network, layout: Layout, arrays: Arrays, wanted: str | None, labels: tuple[str, ...] | None
) -> tuple[Head, int, npt.NDArray[np.float64]]:
    """Tell the head from what the rows hold."""
    seen, rows = seen_in(network), layout.rows(arrays)
    if not np.isfinite(rows).all():
        raise ExportError(
            f"{seen}: there are infinite or undefined numbers among its predictions of a picture of noise"
        )
    head = HEADS[wanted] if wanted else None
    if head and (head.split, head.final) != (len(layout.outputs) == 2, layout.final):
        raise ExportError(f"{seen}, which --head {head.name} ({head.families}) does not have")
    if layout.final:
        return _final(seen, rows, labels)
    boxes, grid = _boxes(rows, layout, head)
    features = rows.shape[1]
    if head is None:
        if boxes is None:
            raise ExportError(_ask(seen, "its boxes lie neither around their cells nor in them"))
        objects = len(layout.outputs) == 1 and boxes != "xyxy" and not layout.features_first
        if labels and boxes == "cxcywh" and len(layout.outputs) == 1 and len(labels) in (features - 4, features - 5):
            objects = len(labels) == features - 5
        head = _named(seen, boxes, objects, rows, layout, grid)
    classes = features - 4 - head.objectness
    if classes < 1:
        raise ExportError(
            f"{seen}: no class is left of its {features} features; {head.name} takes {4 + head.objectness}"
        )
    if labels and len(labels) != classes:
        raise ExportError(
            f"{seen}: as {head.name} ({head.families}) it has {classes} classes, but there are {len(labels)} labels, "
            f"from {labels[0]!r} to {labels[-1]!r}: give the right file with --labels, or another --head"
        )
    scores = rows[:, 4:]
    if scores.min() < -1e-3 or scores.max() > 1 + 1e-3:
        raise ExportError(
            f"{seen}: what should be scores reaches from {scores.min():.3g} to {scores.max():.3g}. Masks, key points "
            "and angles are not served, and scores are wanted after their sigmoid: export the detection network with it"
        )
    return head, classes, grid[0]


def _named(seen: str, boxes: str, objects: bool, rows: npt.NDArray[np.float64], layout: Layout, grid: _Grid) -> Head:
    """The head with these boxes, with objectness or without."""
    if len(layout.outputs) == 2:
        if boxes == "xyxy":
            return HEADS["split"]
    elif boxes == "xyxy" and not objects:
        return HEADS["xyxy"]
    elif boxes == "offsets" and objects:
        return HEADS["yolox-raw"]
    elif boxes == "cxcywh" and not objects:
        return HEADS["yolov8"]
    elif boxes == "cxcywh":
        if grid[1] > 1:
            return HEADS["yolov5"]
        return HEADS["yolov6" if (rows[:, 4] == 1).all() else "yolox"]
    raise ExportError(_ask(seen, f"its boxes are {boxes}, {'with' if objects else 'without'} objectness"))


def _boxes(rows: npt.NDArray[np.float64], layout: Layout, head: Head | None) -> tuple[str | None, _Grid]:
    """What the first four columns are, and of which grid; the first that explains nearly all boxes."""
    for grid in layout.grids:
        cells = np.tile(grid, (len(rows) // len(grid), 1))
        stride = cells[:, 2:]
        centre = (cells[:, :2] + 0.5) * stride
        a, b = rows[:, :2], rows[:, 2:4]
        explained = {
            "xyxy": (a <= centre + stride) & (b >= centre - stride),
            "cxcywh": (b >= 0) & (np.abs(a - centre) <= b / 2 + 2 * stride),
            "offsets": np.abs(a) < 8,
        }
        each = len(grid) // len(np.unique(grid, axis=0))
        for kind, fits in explained.items():
            if (head is None or head.boxes == kind) and fits.all(axis=1).mean() >= ENOUGH:
                return kind, (grid, each)
    return None, (layout.grids[0] if layout.grids else np.empty((0, 3)), 1)


def _final(
    seen: str, rows: npt.NDArray[np.float64], labels: tuple[str, ...] | None
) -> tuple[Head, int, npt.NDArray[np.float64]]:
    """Make sure that rows of six are x1, y1, x2, y2, score, class."""
    boxes, scores, classes = rows[:, :4], rows[:, 4], rows[:, 5]
    if scores.min() < -1e-3 or scores.max() > 1 + 1e-3 or (classes % 1 != 0).any() or classes.min() < 0:
        raise ExportError(
            f"{seen}, which should be x1, y1, x2, y2, score, class in rows of six, but the scores reach from "
            f"{scores.min():.3g} to {scores.max():.3g} and the classes from {classes.min():.3g} to {classes.max():.3g}"
        )
    if 0 < np.abs(boxes).max() <= 2:
        raise ExportError(f"{seen}: its boxes are shares of the image (up to {np.abs(boxes).max():.3g}), not pixels")
    if labels and classes.max() >= len(labels):
        raise ExportError(
            f"{seen}: it answers with class {classes.max():.0f}, but there are {len(labels)} labels, from "
            f"{labels[0]!r} to {labels[-1]!r}: give the right file with --labels"
        )
    return HEADS["yolov10"], len(labels or ()), np.empty((0, 3))


def _ask(seen: str, why: str) -> str:
    known = "; ".join(f"{head.name} ({head.families})" for head in HEADS.values())
    return f"{seen}, but {why}: say with --head which it is: {known}"
