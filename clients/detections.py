"""The detections of one image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.errors import DetectionError

if TYPE_CHECKING:
    import supervision

OUTPUTS = ("num_detections", "boxes", "scores", "classes")


@dataclass(frozen=True, eq=False)
class Detections:
    """The detections of one image, best first.

    Attributes:
        boxes: float32 [N, 4], x1, y1, x2, y2 in pixels of the original image, upright as its EXIF orientation says.
        scores: float32 [N], 0..1.
        classes: int32 [N], indices into the server's labels.
        names: N class names.
        extra: further outputs of the model by name: N rows of those that have a row for each of the M boxes that an
            answer has room for, all of others. ``as_dict`` leaves them out.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int32]
    names: tuple[str, ...]
    extra: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]], labels: Sequence[str]) -> list[Detections]:
        """Return the detections of each image of a response, without the padding.

        Args:
            tensors: ``num_detections`` int32 [B, 1], ``boxes`` float32 [B, M, 4], ``scores`` float32 [B, M],
                ``classes`` int32 [B, M], of which rows past num_detections are ignored; and any others [B, ...].
            labels: class names in the network's order.

        Returns:
            One for each of the B images; their arrays are writable.

        Raises:
            DetectionError: the response lacks one of the four, or has a class that has no label.
        """
        if missing := [name for name in OUTPUTS if name not in tensors]:
            raise DetectionError(
                f"the server's answer has no {' and no '.join(missing)}: a model that detects answers with "
                f"{', '.join(OUTPUTS)}, and this one answered with {', '.join(tensors) or 'nothing'}"
            )
        numbers, boxes, scores, classes = (np.array(tensors[name]) for name in OUTPUTS)  # writable copies
        further = {name: np.array(tensor) for name, tensor in tensors.items() if name not in OUTPUTS}
        # Few calls of NumPy: after milliseconds of waiting each costs several times what it costs when called at once.
        found = []
        for image, (number,) in enumerate(numbers.tolist()):
            indices = classes[image, :number].tolist()
            if indices and not 0 <= min(indices) <= max(indices) < len(labels):
                raise DetectionError(f"the server answered with a class outside of its {len(labels)} labels")
            names = tuple([labels[index] for index in indices])
            extra = {
                name: tensor[image, :number] if tensor.shape[1:2] == boxes.shape[1:2] else tensor[image]
                for name, tensor in further.items()
            }
            found.append(cls(boxes[image, :number], scores[image, :number], classes[image, :number], names, extra))
        return found

    def to_supervision(self) -> supervision.Detections:
        """Return them as supervision's Detections, with the names as ``data["class_name"]``."""
        import supervision  # takes most of a second to load

        return supervision.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.classes.astype(int),
            data={"class_name": np.array(self.names, dtype=str)},
        )

    def as_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Return them for JSON: ``{"detections": [{"box": [x1, y1, x2, y2], "score", "class", "name"}, ...]}``."""
        rows = zip(self.boxes, self.scores, self.classes, self.names, strict=True)
        return {
            "detections": [
                {"box": [_short(v) for v in box], "score": _short(score), "class": int(number), "name": name}
                for box, score, number, name in rows
            ]
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Detections:
        """Return the detections of what ``as_dict`` made, without loss; other keys are ignored."""
        rows = content["detections"]
        return cls(
            np.array([row["box"] for row in rows], np.float32).reshape(-1, 4),
            np.array([row["score"] for row in rows], np.float32),
            np.array([row["class"] for row in rows], np.int32),
            tuple(row["name"] for row in rows),
        )

    def to_json(self) -> str:
        """Return ``as_dict`` as one line of JSON."""
        return json.dumps(self.as_dict())


def _short(value: np.float32) -> float:
    """Return the float with the fewest digits that is still this float32: 0.3, not 0.30000001192092896."""
    return float(str(value))
