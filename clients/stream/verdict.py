"""What results mean: pass, fail or not inspected, for each frame and each board."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from triton_yolo.clients.detections import Detections
from triton_yolo.clients.stream.frames import Result


class Verdict(str, Enum):
    """Whether something is good. What was not inspected never is."""

    PASS = "pass"
    FAIL = "fail"
    NOT_INSPECTED = "not inspected"


@dataclass(frozen=True)
class FrameVerdict:
    """The verdict on a frame.

    Attributes:
        result: what became of the frame.
        verdict: the verdict.
        why: the reason in words; empty for a pass.
        defects: those of its detections that are defects by the line's rules; None unless it was inspected.
    """

    result: Result
    verdict: Verdict
    why: str = ""
    defects: Detections | None = None

    @property
    def are_defects(self) -> list[bool]:
        """Which of the frame's detections are defects, in their order; one that was not inspected has none."""
        found = self.result.detections
        if found is None:
            return []
        defects = set() if self.defects is None else set(_keys(self.defects))
        return [key in defects for key in _keys(found)]


def _keys(detections: Detections) -> list[tuple[float, ...]]:
    """Return what tells detections of one frame apart."""
    rows = zip(detections.boxes.tolist(), detections.scores.tolist(), detections.classes.tolist(), strict=True)
    return [(*box, score, number) for box, score, number in rows]


@dataclass(frozen=True)
class BoardVerdict:
    """The verdict on a board, as one camera sees it; it comes behind those on the board's frames.

    Attributes:
        camera: name of the camera.
        board: number of the board among those of its camera, from 1 on without a gap.
        verdict: the verdict.
        why: the reason in words; empty for a pass.
        frames: how many of its frames were captured.
        inspected: how many of those were inspected.
        defects: the most defects that one of its frames shows; 0 unless the board has failed.
        worst: class name and score of the defect with the highest score, of the rules that the board has failed by;
            None unless it has failed.
        numbers: numbers of its first and of its last frame; None if there was none.
        first_ns: time of capture of its first frame since 1970, in nanoseconds; 0 if that is not known.
        last_ns: the same of its last frame.
        reused: how many of the inspected frames stand on the detections of an earlier one, since nothing had changed.
    """

    camera: str
    board: int
    verdict: Verdict
    why: str = ""
    frames: int = 0
    inspected: int = 0
    defects: int = 0
    worst: tuple[str, float] | None = None
    numbers: tuple[int, int] | None = None
    first_ns: int = 0
    last_ns: int = 0
    reused: int = 0
