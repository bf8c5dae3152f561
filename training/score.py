"""Average precision of a network in training, on pictures that lie in the GPU's memory."""

from __future__ import annotations

import contextlib
import io
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn
from torchvision.ops import batched_nms

from training.augment import Pool
from training.network import Trainee

CANDIDATES, MOST, SCORE, OVERLAP = 1000, 100, 0.001, 0.6
"""As the server is asked when it is measured: candidates kept, detections kept, least score, most overlap."""


@dataclass(frozen=True)
class Precision:
    """Average precision: mean over the classes at IoU 0.5 and over IoU 0.5 to 0.95, and both for each class."""

    map50: float
    map50_95: float
    classes50: dict[str, float]
    classes50_95: dict[str, float]

    def rounded(self) -> dict[str, Any]:
        """Return the figures as a document, with four decimals."""

        def short(value: Any) -> Any:
            return {k: short(v) for k, v in value.items()} if isinstance(value, dict) else round(value, 4)

        return {key: short(value) for key, value in asdict(self).items()}


def detections(predictions: Tensor) -> list[Tensor]:
    """Do what the served graph and the NMS step do: best class, top candidates, class-wise suppression.

    Args:
        predictions: x1, y1, x2, y2 and a score for each class [B, 4 + classes, anchors].

    Returns:
        For each picture x1, y1, x2, y2, score, class [M, 6], best first.
    """
    scores, kinds = predictions[:, 4:].max(1)
    found = []
    for boxes, score, kind in zip(predictions[:, :4].transpose(1, 2), scores, kinds, strict=True):
        score, order = score.topk(CANDIDATES)
        order, score = order[score >= SCORE], score[score >= SCORE]
        boxes, kind = boxes[order], kind[order]
        kept = batched_nms(boxes, score, kind, OVERLAP)[:MOST]
        found.append(torch.cat([boxes[kept], score[kept, None], kind[kept, None].float()], 1))
    return found


@torch.no_grad()
def detect(trainee: Trainee, network: nn.Module, pool: Pool, batch: int = 50) -> list[NDArray[np.float32]]:
    """Return the network's detections, x1, y1, x2, y2, score, class [M, 6], for each picture of a pool."""
    network.eval()
    return [
        found.cpu().numpy()
        for images in pool.images.split(batch)
        for found in detections(trainee.predictions(trainee.answer(network, trainee.pixels(images.float() / 255))))
    ]


def precision(found: list[NDArray[np.float32]], pool: Pool, names: tuple[str, ...]) -> Precision:
    """Hold detections against a pool's boxes, with pycocotools."""
    truth: dict[str, list[dict[str, Any]]] = {
        "images": [{"id": k + 1} for k in range(len(found))],
        "categories": [{"id": k, "name": name} for k, name in enumerate(names)],
        "annotations": [],
    }
    for k, (boxes, kinds) in enumerate(zip(pool.boxes.tolist(), pool.classes.tolist(), strict=True)):
        for (x1, y1, x2, y2), kind in zip(boxes, kinds, strict=True):
            if kind >= 0:
                row = {"id": len(truth["annotations"]) + 1, "image_id": k + 1, "category_id": kind, "iscrowd": 0}
                row |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
                truth["annotations"].append(row)
    rows = [[k + 1, x1, y1, x2 - x1, y2 - y1, score, kind]
            for k, many in enumerate(found) for x1, y1, x2, y2, score, kind in many.tolist()]  # fmt: skip
    if not rows:
        return Precision(0.0, 0.0, dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0))
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(np.array(rows, np.float64)), "bbox")
        judge.evaluate()
        judge.accumulate()
    curves = judge.eval["precision"][:, :, :, 0, -1]  # [IoU thresholds, recalls, classes], all areas, MOST detections
    each = np.where(curves < 0, np.nan, curves).mean(1)
    return Precision(
        float(np.nanmean(each[0])),
        float(np.nanmean(each)),
        {name: float(v) for name, v in zip(names, each[0], strict=True)},
        {name: float(v) for name, v in zip(names, each.mean(0), strict=True)},
    )
