"""How good a graph is: average precision, and the signal to noise of its detections against the float graph's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from supervision.detection.utils.iou_and_nms import box_iou_batch

from triton_yolo.calibration.pictures import Pictures, Size
from triton_yolo.calibration.runtimes import Candidates, Run
from triton_yolo.calibration.steps import said
from triton_yolo.cli.progress import tracked
from triton_yolo.clients.coco import IOU_THRESHOLD, SCORE_THRESHOLD, AnnotationError, Annotations, Result, evaluate
from triton_yolo.clients.detections import OUTPUTS, Detections
from triton_yolo.nms.detections import detections
from triton_yolo.nms.served_model import ServedModel
from triton_yolo.nms.thresholds import Thresholds

MIN_SIGNAL = 0.05  # candidates below this score are no signal
MIN_REFERENCE = 0.25  # score of the float graph's detections that take the place of annotations


@dataclass(frozen=True)
class Evaluator:
    """Measures the average precision of graphs.

    Attributes:
        annotations: what is to be found; the float graph's own detections if there are no annotations.
        images: the id of each picture.
        pictures: to detect on.
        served: class names, and NMS.
    """

    annotations: Annotations
    images: tuple[int, ...]
    pictures: Pictures
    served: ServedModel

    @classmethod
    def of_annotations(
        cls, annotations: Annotations, ids: Mapping[Path, int], pictures: Pictures, served: ServedModel
    ) -> Evaluator:
        """Evaluate by annotations.

        Args:
            annotations: of the pictures, and of others.
            ids: the id of each annotated file.
            pictures: all of them annotated.
            served: class names, and NMS.

        Raises:
            AnnotationError: there is nothing to find in any picture.
        """
        images = tuple(ids[file] for file in pictures.files)
        known = annotations.only(images)
        if not _to_find(known):
            raise AnnotationError(f"none of the {len(images)} images has a box to find: take more or others")
        return cls(known, images, pictures, served)

    @classmethod
    def of_boxes(cls, boxes: Sequence[Mapping[str, Any]], pictures: Pictures, served: ServedModel) -> Evaluator:
        """Evaluate by what the float graph is sure of, so that its own precision is nearly 1.

        Args:
            boxes: of sure_boxes.
            pictures: in which they are.
            served: class names, and NMS.

        Raises:
            AnnotationError: it is sure of nothing in any picture.
        """
        if not boxes:
            raise AnnotationError(
                f"the float graph finds nothing with a score of {MIN_REFERENCE} in any image: give others"
            )
        content = {
            "images": [{"id": i, "file_name": file.name} for i, file in enumerate(pictures.files)],
            "categories": [{"id": i, "name": name} for i, name in enumerate(served.labels)],
            "annotations": boxes,
        }
        return cls(Annotations.from_dict(content), tuple(range(len(pictures))), pictures, served)

    @classmethod
    def of_itself(cls, run: Run, pictures: Pictures, served: ServedModel) -> Evaluator:
        """Evaluate by what a float graph is sure of, as of_boxes does.

        Raises:
            AnnotationError: it is sure of nothing in any picture.
        """
        return cls.of_boxes(sure_boxes(run, pictures, served), pictures, served)

    def narrowed(self, most: int) -> Evaluator:
        """Return an evaluator with fewer pictures, evenly spread; itself if there is nothing to find in those."""
        few = self.pictures.spread(most)
        ids = dict(zip(self.pictures.files, self.images, strict=True))
        images = tuple(ids[file] for file in few.files)
        annotations = self.annotations.only(images)
        return Evaluator(annotations, images, few, self.served) if _to_find(annotations) else self

    def precision(self, run: Run, what: str = "Precision") -> Result:
        """Measure COCO's average precision of a graph.

        Args:
            run: the graph.
            what: is being measured, for the progress.
        """
        found = tracked(_detected(run, self.pictures, self.served), len(self.pictures), what)
        return evaluate(self.annotations, dict(zip(self.images, found, strict=True)))

    def precision_of(self, candidates: Sequence[Candidates]) -> Result:
        """Return COCO's average precision of what a graph has found in the pictures."""
        sizes = self.pictures.mapped(lambda pixels, size: size)
        found = (_judged(*one, self.pictures, self.served) for one in zip(candidates, sizes, strict=True))
        return evaluate(self.annotations, dict(zip(self.images, found, strict=True)))

    def candidates(self, run: Run) -> list[Candidates]:
        """Return what a graph finds in each picture."""
        return list(self.pictures.mapped(lambda pixels, size: run(pixels)))


def sure_boxes(run: Run, pictures: Pictures, served: ServedModel) -> list[dict[str, Any]]:
    """Return what a graph is sure of, as rows of COCO's annotations; images are numbered from 0."""
    found = tracked(_detected(run, pictures, served), len(pictures), said("float graph"))
    return [
        {"image_id": image, "category_id": int(kind), "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for image, one in enumerate(found)
        for (x1, y1, x2, y2), score, kind in zip(
            one.boxes.tolist(), one.scores.tolist(), one.classes.tolist(), strict=True
        )
        if score >= MIN_REFERENCE
    ]


def _to_find(annotations: Annotations) -> bool:
    return any(not box["iscrowd"] for box in annotations.boxes)


def _detected(run: Run, pictures: Pictures, served: ServedModel) -> Iterator[Detections]:
    return pictures.mapped(lambda pixels, size: _judged(run(pixels), size, pictures, served))


def _judged(candidates: Candidates, size: Size, pictures: Pictures, served: ServedModel) -> Detections:
    thresholds = Thresholds(SCORE_THRESHOLD, IOU_THRESHOLD)
    image_size = np.array([size], np.int32)
    arrays = detections(candidates[None], image_size, thresholds, served.max_detections, pictures.letterbox)
    [found] = Detections.from_tensors(dict(zip(OUTPUTS, arrays, strict=True)), served.labels)
    return found


def noise_to_signal(expected: Sequence[Candidates], found: Sequence[Candidates]) -> float:
    """Energy of the quantisation noise in the detections as a share of that of the signal.

    The signal is the score of each candidate of the float graph. What the quantised graph makes of it is the score of
    the candidate of its class that overlaps it most, times their intersection over union; 0 where none does by half.
    Candidates that the float graph has nothing of are noise too.

    Args:
        expected: candidates of each picture, float32 [K, 6], of the float graph.
        found: of the quantised graph.
    """
    signal = noise = 0.0
    for before, after in zip(expected, found, strict=True):
        wanted, seen = before[before[:, 4] >= MIN_SIGNAL], after[after[:, 4] >= MIN_SIGNAL]
        signal += float(np.square(wanted[:, 4]).sum())
        made = _best_overlap(wanted, after)
        noise += float(np.square(wanted[:, 4] - made).sum())
        extra = _best_overlap(seen, before) == 0
        noise += float(np.square(seen[extra, 4]).sum())
    return noise / signal if signal else 0.0


def _best_overlap(rows: Candidates, others: Candidates) -> npt.NDArray[np.float32]:
    """Score times overlap of the candidate that overlaps each row most, 0 where none of its class does by half [N]."""
    others = others[others[:, 4] >= MIN_SIGNAL / 2]  # not to lose one that fell just under
    if not len(rows) or not len(others):
        return np.zeros(len(rows), np.float32)
    overlaps = np.where(rows[:, None, 5] == others[None, :, 5], box_iou_batch(rows[:, :4], others[:, :4]), 0)
    best = overlaps.argmax(1)
    most = overlaps[np.arange(len(rows)), best]
    return np.asarray(np.where(most >= 0.5, others[best, 4] * most, 0), np.float32)
