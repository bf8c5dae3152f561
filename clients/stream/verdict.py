"""What results mean: pass, fail or not inspected, for each frame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from triton_yolo.clients.detections import Detections
from triton_yolo.clients.stream.frames import Result, ResultState


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
        defects: those of its detections that are defects; None unless it was inspected.
    """

    result: Result
    verdict: Verdict
    why: str = ""
    defects: Detections | None = None


class Judge:
    """Turns results into verdicts by the line's rules."""

    def frame(self, result: Result) -> FrameVerdict:
        """Return the verdict on one frame: without rules, whatever is detected is a defect."""
        if result.state != ResultState.INSPECTED or result.detections is None:
            return FrameVerdict(result, Verdict.NOT_INSPECTED, result.reason or result.state.value)
        if len(result.detections):
            return FrameVerdict(result, Verdict.FAIL, f"{len(result.detections)} defects", result.detections)
        return FrameVerdict(result, Verdict.PASS, "", result.detections)
