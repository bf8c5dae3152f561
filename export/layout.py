"""Which outputs of a network hold its predictions, by their shapes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triton_yolo.export.errors import ExportError
from triton_yolo.export.heads import HEADS
from triton_yolo.export.network import Network
from triton_yolo.graphs.runner import Arrays

STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))  # of the maps that predict
MOST_FINAL = 1000  # rows of an end-to-end head; a dense one has thousands


@dataclass(frozen=True)
class Layout:
    """Which outputs hold the predictions, and how.

    Attributes:
        outputs: their names: one, or boxes and scores.
        features_first: they are [N, features, A], not [N, A, features].
        final: rows of x1, y1, x2, y2, score, class.
        grids: the ways in which the anchors may cover the image, float64 [A, 3] each: column, row and stride of each.
    """

    outputs: tuple[str, ...]
    features_first: bool
    final: bool
    grids: tuple[npt.NDArray[np.float64], ...] = ()

    def rows(self, arrays: Arrays) -> npt.NDArray[np.float64]:
        """Return [N * A, features] in double precision, boxes and scores side by side."""
        parts = [arrays[name].astype(np.float64) for name in self.outputs]
        if self.features_first:
            parts = [part.transpose(0, 2, 1) for part in parts]
        joined = np.concatenate(parts, axis=2)
        return joined.reshape(-1, joined.shape[2])


def find_layout(network: Network, wanted: str | None) -> Layout:
    """Choose among the outputs by their shapes.

    Args:
        network: of one image size.
        wanted: name of the head that the user chose, None to find it.

    Raises:
        ExportError: they hold no predictions of boxes, or more than those; lists what was seen.
    """
    seen = seen_in(network)
    flat = {name: dims for name, dims in network.outputs.items() if len(dims) == 2}
    _check_task(seen, network)
    final = [name for name, (rows, columns) in flat.items() if columns == 6 and rows <= MOST_FINAL]
    dense = []
    for name, dims in flat.items():
        for first, anchors in ((False, dims[0]), (True, dims[1])):
            if grids := tuple(_grids(anchors, network.height, network.width)):
                dense.append(Layout((name,), first, False, grids))
    if wanted and HEADS[wanted].final:
        dense = []
        final = final or [name for name, (rows, columns) in flat.items() if columns == 6]
    elif wanted and not dense and not HEADS[wanted].boxes.needs_cells:  # what the user says needs no grid
        dense = [Layout((name,), dims[0] < dims[1], False) for name, dims in flat.items()]
    if len(dense) == 2 and not dense[0].features_first and not dense[1].features_first:
        boxes, scores = sorted((d.outputs[0] for d in dense), key=lambda name: flat[name][1] != 4)
        if flat[boxes][1] == 4:
            return Layout((boxes, scores), False, False, dense[0].grids)
    if len(dense) == 1:
        return dense[0]
    if len(final) == 1 and not dense:
        if any(node.op_type == "NonMaxSuppression" for node in network.original.model.graph.node):
            raise ExportError(
                f"{seen}, with non-maximum suppression in the graph: export without it (Ultralytics and LibreYOLO "
                "without `nms=True`, YOLOv7 without `--end2end`); the server does it, with thresholds by request"
            )
        return Layout((final[0],), False, True)
    raise ExportError(
        f"{seen}, which is none of the known layouts: [N, A, 4 or 5 + classes], [N, 4 + classes, A], boxes "
        f"[N, A, 4] with scores [N, A, classes], or [N, rows, 6], where A is the number of cells of {network.height}x"
        f"{network.width} at strides such as 8, 16 and 32"
    )


def _check_task(seen: str, network: Network) -> None:
    """Refuse classifiers and networks for masks, by the shapes of their outputs."""
    dims = list(network.outputs.values())
    maps = [one for one in dims if len(one) == 3]
    if all(len(one) in (1, 3) and math.prod(one[1:]) == 1 for one in dims):  # [N, C] or [N, C, 1, 1]
        raise ExportError(
            f"{seen}: this is a classifier, with a score for each class of the whole image and no boxes, and "
            "triton-yolo serves detectors: export the detection network"
        )
    if maps and any(len(one) == 2 for one in dims):
        raise ExportError(
            f"{seen}: it has maps beside its predictions, as a segmentation network has, and triton-yolo serves "
            "detectors: export the detection network"
        )
    if len(dims) == 1 and maps and 4 * maps[0][1] >= network.height and 4 * maps[0][2] >= network.width:
        raise ExportError(
            f"{seen}: one fine map, as a semantic segmentation network has, and triton-yolo serves detectors: export "
            "the detection network"
        )
    if maps:
        raise ExportError(
            f"{seen}: these are maps that are not decoded yet; export with the decoding (YOLOv7 `--grid`, LibreYOLO or "
            "SuperGradients for RTMDet and PP-YOLOE)"
        )


def _grids(anchors: int, height: int, width: int) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the ways in which so many anchors can cover an image: float64 [A, 3], column, row and stride of each."""
    for strides in STRIDES:
        sides = [(-(-height // stride), -(-width // stride)) for stride in strides]
        cells = sum(rows * columns for rows, columns in sides)
        if anchors % cells or anchors // cells not in (1, 3):
            continue
        each = anchors // cells
        maps = [
            np.stack([*np.meshgrid(np.arange(columns), np.arange(rows)), np.full((rows, columns), stride)], -1)
            for (rows, columns), stride in zip(sides, strides, strict=True)
        ]
        flat = [one.reshape(-1, 3).astype(np.float64) for one in maps]
        orders = [flat, flat[::-1]] if len(flat) > 1 else [flat]
        for order in orders:
            yield np.concatenate([np.tile(one, (each, 1)) for one in order])
            if each > 1:
                yield np.concatenate([one.repeat(each, 0) for one in order])


def seen_in(network: Network) -> str:
    """Return the outputs of a network, for messages."""
    shapes = " and ".join(f"{name} [N, {', '.join(map(str, dims))}]" for name, dims in network.outputs.items())
    return f"the network answers with {shapes}"
