"""The rules by which a line's detections become verdicts: what a line's file says, and pure functions of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from triton_yolo.clients.detections import Detections
from triton_yolo.clients.stream.strict import NAME, Strict

Zone = tuple[tuple[float, float], ...]
Mask = list[bool]


class Rule(Strict):
    """One reason for which frames and boards fail.

    Attributes:
        name: what it is called in reasons; its classes if empty.
        cameras: for which cameras; for all if empty.
        classes: names of the classes that count; all if empty.
        score: lowest score of a detection that counts, 0..1.
        size: shortest length of the longer side of a box that counts, in pixels of the picture.
        zone: polygon, x and y in pixels of the picture, in which the centre of a box must lie, or on its edge; the
            whole picture if None.
        count: how many such detections fail a frame.
        frames: how many failed frames of a board fail that.
    """

    name: str = Field(default="", max_length=64)
    cameras: tuple[Annotated[str, Field(pattern=NAME)], ...] = ()
    classes: tuple[str, ...] = ()
    score: float = Field(default=0.0, ge=0, le=1)
    size: float = Field(default=0.0, ge=0)
    zone: Zone | None = Field(default=None, min_length=3)
    count: int = Field(default=1, ge=1)
    frames: int = Field(default=1, ge=1)

    @field_validator("zone")
    @classmethod
    def _has_an_inside(cls, zone: Zone | None) -> Zone | None:
        if zone is not None and cv2.contourArea(np.array(zone, np.float32)) == 0:
            raise ValueError("the polygon has no inside")
        return zone

    @property
    def words(self) -> str:
        """What it looks for, in words."""
        return self.name or " or ".join(self.classes) or "defects"


class Motion(Strict):
    """How boards are told apart by motion.

    Attributes:
        threshold: mean difference of two small grey pictures, in grey levels, above which something moves.
        settle: frames without motion after which a board stands; the last of them is its first.
    """

    threshold: float = Field(default=1.0, gt=0, le=255)
    settle: int = Field(default=2, ge=1, le=1000)


class VerdictSettings(Strict):
    """What a line's file says of verdicts.

    Attributes:
        rules: a frame or a board fails by any of them. Where there is none for a camera, whatever is detected is a
            defect.
        boards: how boards are told apart: each frame is one, by motion, or by a trigger.
        frames_per_board: frames after which the verdict on a board is given; later ones belong to none. None for all,
            until the board moves; with a trigger 1 if None.
        min_frames: fewest frames of a board that must have been inspected for a pass.
        min_share: lowest share of a board's frames that must have been inspected for a pass, 0..1.
        patience_s: seconds without a result after which a board is not waited for any more.
        motion: for boards that are told apart by motion.
    """

    rules: tuple[Rule, ...] = ()
    boards: Literal["frame", "motion", "trigger"] = "frame"
    frames_per_board: int | None = Field(default=None, ge=1)
    min_frames: int = Field(default=1, ge=1)
    min_share: float = Field(default=0.5, ge=0, le=1)
    patience_s: float = Field(default=5.0, gt=0, le=3600)
    motion: Motion = Motion()

    @model_validator(mode="after")
    def _can_be_met(self) -> VerdictSettings:
        longest = 1 if self.boards == "frame" else self.wanted
        if self.boards == "frame" and self.frames_per_board not in (None, 1):
            raise ValueError("frames_per_board: boards of more than one frame need boards: motion or boards: trigger")
        if longest is not None and self.min_frames > longest:
            raise ValueError(f"min_frames: {self.min_frames} frames are more than the {longest} of a board")
        for place, rule in enumerate(self.rules):
            if longest is not None and rule.frames > longest:
                raise ValueError(f"rules[{place}].frames: {rule.frames} frames are more than the {longest} of a board")
        return self

    @property
    def wanted(self) -> int | None:
        """Frames after which a board is complete; None if it is when it moves."""
        return self.frames_per_board or (None if self.boards == "motion" else 1)

    def of(self, camera: str) -> tuple[Rule, ...]:
        """Return the rules for a camera: never none."""
        return tuple(rule for rule in self.rules if camera in rule.cameras or not rule.cameras) or (Rule(),)


def matches(rule: Rule, detections: Detections) -> Mask:
    """Return which of N detections count by a rule; what lies on a limit counts."""
    if not len(detections):
        return []
    lowest = float(np.float32(rule.score))  # 0.9 is no float32, and a score of 0.9 counts
    # Without NumPy: there are few of them, and after milliseconds of waiting each of its calls costs as much as a loop.
    rows = zip(detections.scores.tolist(), detections.names, detections.boxes.tolist(), strict=True)
    return [
        score >= lowest
        and (not rule.classes or name in rule.classes)
        and max(box[2] - box[0], box[3] - box[1]) >= rule.size
        and (rule.zone is None or is_inside(rule.zone, box))
        for score, name, box in rows
    ]


def is_inside(zone: Zone, box: Sequence[float]) -> bool:
    """Return whether a box x1, y1, x2, y2 has its centre in a polygon or on its edge, all in pixels."""
    centre = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return cv2.pointPolygonTest(_contour(zone), centre, False) >= 0


@lru_cache
def _contour(zone: Zone) -> npt.NDArray[np.float32]:
    return np.array(zone, np.float32)


def chosen(detections: Detections, mask: Mask) -> Detections:
    """Return some of the detections, without further outputs of the model.

    Args:
        detections: N of them.
        mask: which, N.
    """
    if all(mask):
        return detections
    places = [place for place, wanted in enumerate(mask) if wanted]
    names = tuple(detections.names[place] for place in places)
    return Detections(detections.boxes[places], detections.scores[places], detections.classes[places], names)


def failed_by(rules: Sequence[Rule], detections: Detections) -> list[tuple[Rule, Mask]]:
    """Return the rules by which a frame fails, each with the detections that count by it."""
    found = ((rule, matches(rule, detections)) for rule in rules)
    return [(rule, mask) for rule, mask in found if sum(mask) >= rule.count]
