"""What is drawn on recorded pictures: boxes, and a line that says which frame it is and what became of it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from triton_yolo.clients.stream.sinks.records.names import moment
from triton_yolo.clients.stream.verdict import FrameVerdict, Verdict

Image = npt.NDArray[np.uint8]

RED, GREY, GREEN, AMBER, WHITE = (40, 40, 230), (160, 160, 160), (80, 160, 40), (0, 140, 255), (255, 255, 255)  # BGR
COLORS = {Verdict.PASS: GREEN, Verdict.FAIL: RED, Verdict.NOT_INSPECTED: AMBER}
FONT = cv2.FONT_HERSHEY_SIMPLEX


def with_boxes(image: Image, scale: float, frame: FrameVerdict) -> Image:
    """Return a picture with a frame's detections, defects in red, and a line of text above it.

    Args:
        image: uint8 [H, W, 3] BGR; is not changed.
        scale: its pixels for each pixel of the frame.
        frame: the verdict on the frame.

    Returns:
        uint8 [H, W, 3] BGR, a new array.
    """
    drawn, side = image.copy(), max(image.shape[:2])
    thick, letters = max(1, round(side / 500)), max(0.4, side / 1600)
    detections = frame.result.detections
    if detections is not None:
        # Defects last, so that nothing is drawn over them.
        order = sorted(zip(frame.are_defects, range(len(detections)), strict=True))
        for is_defect, place in order:
            color = RED if is_defect else GREY
            x1, y1, x2, y2 = (round(float(v) * scale) for v in detections.boxes[place])
            cv2.rectangle(drawn, (x1, y1), (x2, y2), color, thick)
            words = f"{detections.names[place]} {detections.scores[place]:.2f}"
            _text(drawn, words, (x1, y1 - thick), letters, thick, color)
    result = frame.result
    at = f"{moment(result.captured_ns)} " if result.captured_ns else ""
    words = f"{result.camera} {result.number} {at}{frame.verdict.value.upper()} {frame.why}"
    _text(drawn, words, (0, 10**6), letters, thick, COLORS[frame.verdict])
    return drawn


def _text(image: Image, words: str, place: tuple[int, int], letters: float, thick: int, color: tuple[int, ...]) -> None:
    """Write white words on a colour, their lower left corner as near to a place as fits into the picture."""
    (width, height), below = cv2.getTextSize(words, FONT, letters, thick)
    x = max(0, min(place[0], image.shape[1] - width))
    y = max(height + below, min(place[1], image.shape[0]))
    cv2.rectangle(image, (x, y - height - below), (x + width, y), color, -1)
    cv2.putText(image, words, (x, y - below // 2), FONT, letters, WHITE, thick, cv2.LINE_AA)
