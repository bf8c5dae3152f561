"""COCO's average precision of detections, whatever ids the annotations use.

The arithmetic is pycocotools' (https://cocodataset.org/#detection-eval), which is what published figures come from.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from triton_yolo.clients.detections import Detections
from triton_yolo.errors import TritonYoloError

# What average precision is measured with: it wants the whole curve, and boxes that are side by side count for more than
# doubles of low score do.
SCORE_THRESHOLD, IOU_THRESHOLD = 0.001, 0.6


class AnnotationError(TritonYoloError):
    """The annotations cannot be used; says what is wrong with them."""


@dataclass(frozen=True)
class Annotations:
    """Labelled images.

    Attributes:
        images: file name, which may have folders, of each image id.
        categories: name of each category id that some box has.
        boxes: COCO's rows, each with image_id, category_id, bbox [x, y, width, height] in pixels, area and iscrowd.
    """

    images: dict[int, str]
    categories: dict[int, str]
    boxes: list[dict[str, Any]]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Annotations:
        """Take over what evaluation needs; rows get ids from 1, and areas and iscrowd where they lack them.

        Args:
            content: of a COCO annotation file.

        Raises:
            AnnotationError: something is missing or contradicts itself.
        """
        try:
            images = {row["id"]: str(row["file_name"]) for row in content["images"]}
            names = {row["id"]: str(row["name"]) for row in content["categories"]}
            boxes = [_box(number, row) for number, row in enumerate(content["annotations"], 1)]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise AnnotationError(f"no COCO annotations: {type(error).__name__} {error}") from None
        for box in boxes:
            for key, known in (("image_id", images), ("category_id", names)):
                if box[key] not in known:
                    raise AnnotationError(f"annotation number {box['id']} has {key} {box[key]}, which is not listed")
        used = {box["category_id"] for box in boxes}
        categories = {number: name for number, name in names.items() if number in used}
        double = [name for name, times in Counter(categories.values()).items() if times > 1]
        if double:
            raise AnnotationError(f"two categories have the name {double[0]}")
        if all(box["iscrowd"] for box in boxes):
            raise AnnotationError("it has no boxes except crowds, so there is nothing to measure against")
        return cls(images, categories, boxes)

    def only(self, images: Collection[int]) -> Annotations:
        """Those of some images, by their ids; all categories stay."""
        names = {number: self.images[number] for number in images}
        return Annotations(names, self.categories, [box for box in self.boxes if box["image_id"] in names])


def _box(number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    x, y, width, height = map(float, row["bbox"])
    return {
        "id": number,  # pycocotools takes an id of 0 for no match
        "image_id": row["image_id"],
        "category_id": row["category_id"],
        "bbox": [x, y, width, height],
        "area": float(row.get("area", width * height)),
        "iscrowd": int(row.get("iscrowd", 0)),
    }


def read_annotations(path: Path) -> Annotations:
    """Read a COCO annotation file.

    Raises:
        AnnotationError: it cannot be read or used; names it.
    """
    try:
        return Annotations.from_dict(json.loads(path.read_bytes()))
    except OSError as error:
        raise AnnotationError(f"cannot read {path}: {error.strerror}") from None
    except AnnotationError as error:
        raise AnnotationError(f"{path}: {error}") from None
    except ValueError:
        raise AnnotationError(f"{path} is no JSON file") from None


@dataclass(frozen=True)
class Precision:
    """Average precision, 0..1; NaN for a class whose only boxes are crowds."""

    ap50_95: float
    ap50: float


@dataclass(frozen=True)
class Result:
    """The means over the classes, and each class by its name, as the annotations order them."""

    overall: Precision
    per_class: dict[str, Precision]


def unknown_names(annotations: Annotations, labels: Sequence[str]) -> list[str]:
    """The annotated classes that a server with these labels cannot find."""
    return [name for name in annotations.categories.values() if name not in labels]


def evaluate(annotations: Annotations, detections: Mapping[int, Detections]) -> Result:
    """Compute COCO's average precision, with at most 100 detections an image, over boxes of all sizes.

    Args:
        annotations: what is there.
        detections: what was found, by image id; classes are matched by name, and those without an annotated box
            are left out. An image without an entry has no detections.

    Returns:
        means and classes.
    """
    numbers = {name: number for number, name in annotations.categories.items()}
    rows = [
        {"image_id": image, "category_id": numbers[name], "score": score, "iscrowd": 0}
        | {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
        for image, found in detections.items()
        for (x1, y1, x2, y2), score, name in zip(found.boxes.tolist(), found.scores.tolist(), found.names, strict=True)
        if name in numbers
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth = _index(annotations, annotations.boxes)
        judge = COCOeval(truth, _index(annotations, [{"id": i, **row} for i, row in enumerate(rows, 1)]), "bbox")
        judge.evaluate()
        judge.accumulate()
    # [IoU 0.5 to 0.95, recall, class]: all areas, 100 detections; -1 where a class has no box to find.
    curves = judge.eval["precision"][:, :, :, 0, -1]
    per_threshold = np.where(curves < 0, np.nan, curves).mean(axis=1)
    per_class = {
        annotations.categories[number]: Precision(float(column.mean()), float(column[0]))
        for number, column in zip(judge.params.catIds, per_threshold.T, strict=True)
    }
    overall = Precision(float(np.nanmean(per_threshold)), float(np.nanmean(per_threshold[0])))
    ordered = {name: per_class[name] for name in annotations.categories.values()}
    return Result(overall, ordered)


def _index(annotations: Annotations, rows: list[dict[str, Any]]) -> COCO:
    """COCO's own object; its loadRes would do for detections too, if it took an empty list."""
    coco = COCO()
    coco.dataset = {
        "images": [{"id": number} for number in annotations.images],
        "categories": [{"id": number, "name": name} for number, name in annotations.categories.items()],
        "annotations": rows,
    }
    coco.createIndex()
    return coco
