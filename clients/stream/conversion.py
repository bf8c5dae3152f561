"""Frames of sensors as RGB, and as BGR, which OpenCV takes for pictures."""

from __future__ import annotations

import cv2
import numpy as np

from triton_yolo.clients.request import Pixels

# By pixel format: OpenCV's codes to RGB, None where it is that already, and to BGR.
CODES: dict[str, tuple[int | None, int]] = {
    "rgb": (None, cv2.COLOR_RGB2BGR),
    "bayer_rggb": (cv2.COLOR_BayerRGGB2RGB, cv2.COLOR_BayerRGGB2BGR),
    "bayer_bggr": (cv2.COLOR_BayerBGGR2RGB, cv2.COLOR_BayerBGGR2BGR),
    "bayer_grbg": (cv2.COLOR_BayerGRBG2RGB, cv2.COLOR_BayerGRBG2BGR),
    "bayer_gbrg": (cv2.COLOR_BayerGBRG2RGB, cv2.COLOR_BayerGBRG2BGR),
    "yuyv": (cv2.COLOR_YUV2RGB_YUYV, cv2.COLOR_YUV2BGR_YUYV),
    "nv12": (cv2.COLOR_YUV2RGB_NV12, cv2.COLOR_YUV2BGR_NV12),
}


def to_rgb(pixels: Pixels, pixel_format: str) -> Pixels:
    """Return a frame as uint8 [H, W, 3] RGB: the same array where it is that already.

    Args:
        pixels: the frame, uint8 of the shape that its format has.
        pixel_format: its format; not ENCODED.
    """
    code = CODES[pixel_format][0]
    return pixels if code is None else np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def to_bgr(pixels: Pixels, pixel_format: str) -> Pixels:
    """Return a frame as uint8 [H, W, 3] BGR, in memory of its own; arguments are those of ``to_rgb``."""
    return np.asarray(cv2.cvtColor(pixels, CODES[pixel_format][1]), np.uint8)
