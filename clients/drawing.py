"""Pictures of detections."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import supervision as sv

from triton_yolo.clients.detections import Detections
from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.request import Pixels

# Dark or strong enough for white text, on copper, on green lacquer and on a black and white scan.
COLORS = sv.ColorPalette.from_hex(
    ["#e6194b", "#1f77ff", "#c026d3", "#d95f02", "#0d9488", "#7c3aed", "#b45309", "#15803d", "#be123c", "#475569"]
)
JPEG_QUALITY = 92


def draw(pixels: npt.NDArray[Any], detections: Detections) -> npt.NDArray[np.uint8]:
    """Return an image with boxes, names and scores; lines and letters grow with the image.

    Args:
        pixels: uint8 [H, W, 3] BGR.
        detections: in pixels of this image.

    Returns:
        uint8 [H, W, 3] BGR, a new array.
    """
    side = math.sqrt(pixels.shape[0] * pixels.shape[1])
    boxes = sv.BoxAnnotator(COLORS, thickness=math.ceil(side / 450))
    labels = sv.LabelAnnotator(
        COLORS,
        text_scale=max(0.3, side / 1800),
        text_thickness=max(1, round(side / 900)),
        text_padding=max(2, round(side / 250)),
        smart_position=True,  # off each other, and inside the image
    )
    shown = detections.to_supervision()
    texts = [f"{name} {score:.2f}" for name, score in zip(detections.names, detections.scores, strict=True)]
    return labels.annotate(boxes.annotate(pixels.copy(), shown), shown, texts)


def drawn(image: bytes | Pixels, detections: Detections, suffix: str) -> bytes:
    """Return an image with boxes, names and scores, upright and encoded.

    Args:
        image: bytes of a JPEG or PNG, or pixels uint8 [H, W, 3] RGB.
        detections: in pixels of the upright image.
        suffix: of the format to return, such as ".png".

    Raises:
        DetectionError: OpenCV cannot decode it.
    """
    decoded: npt.NDArray[Any] | None
    if isinstance(image, np.ndarray):
        decoded = np.ascontiguousarray(image[..., ::-1])
    else:
        decoded = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)  # this turns it upright
    if decoded is None:
        raise DetectionError("OpenCV cannot decode this image to draw on it")
    picture = draw(decoded, detections)
    return cv2.imencode(suffix, picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
