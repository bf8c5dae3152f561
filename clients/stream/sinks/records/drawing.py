"""What is drawn on recorded pictures: boxes or what was sent, and a line that says which frame it is and more."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from triton_yolo.clients.stream.sinks.records.names import moment
from triton_yolo.clients.stream.verdict import FrameVerdict, Verdict

Image = npt.NDArray[np.uint8]

RED, GREEN, AMBER = (40, 40, 230), (80, 160, 40), (0, 140, 255)  # BGR
DARK, GREY, WHITE = (60, 60, 60), (160, 160, 160), (255, 255, 255)
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
    words = f"{frame.verdict.value.upper()} {frame.why}"
    _text(drawn, f"{_which(frame)} {words}", (0, 10**6), letters, thick, COLORS[frame.verdict])
    return drawn


def with_sent(image: Image, scale: float, frame: FrameVerdict) -> Image:
    """Return a picture in which what was sent of a frame stands out, and a line that says how, and how many bytes.

    Args:
        image: uint8 [H, W, 3] BGR; is not changed.
        scale: its pixels for each pixel of the frame.
        frame: the verdict on a frame of a camera whose changes are sent.

    Returns:
        uint8 [H, W, 3] BGR, a new array.
    """
    sent, side = frame.result.sent, max(image.shape[:2])
    assert sent
    drawn = np.asarray(cv2.convertScaleAbs(image, alpha=0.35), np.uint8)
    thick, letters = max(1, round(side / 640)), max(0.4, side / 1600)
    places = [tuple(round(float(v) * scale) for v in box) for box in sent.boxes]
    for x1, y1, x2, y2 in places:
        drawn[y1:y2, x1:x2] = image[y1:y2, x1:x2]
    for x1, y1, x2, y2 in places:
        cv2.rectangle(drawn, (x1, y1), (x2 - 1, y2 - 1), AMBER, thick)
    parts = f" ({len(places)})" if len(places) > 1 else ""
    age = f", as {frame.result.age} before" if frame.result.age else ""
    _text(drawn, f"{_which(frame)} {sent.kind}{parts}, {sent.nbytes:,} bytes{age}", (0, 10**6), letters, thick, DARK)
    return drawn


def _which(frame: FrameVerdict) -> str:
    result = frame.result
    at = f" {moment(result.captured_ns)}" if result.captured_ns else ""
    return f"{result.camera} {result.number}{at}"


def _text(image: Image, words: str, place: tuple[int, int], letters: float, thick: int, color: tuple[int, ...]) -> None:
    """Write white words on a colour, their lower left corner as near to a place as fits into the picture."""
    (width, height), below = cv2.getTextSize(words, FONT, letters, thick)
    x = max(0, min(place[0], image.shape[1] - width))
    y = max(height + below, min(place[1], image.shape[0]))
    cv2.rectangle(image, (x, y - height - below), (x + width, y), color, -1)
    cv2.putText(image, words, (x, y - below // 2), FONT, letters, WHITE, thick, cv2.LINE_AA)
