"""Pictures as cameras deliver them: in the formats of their sensors."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def as_sensor(pixels: Pixels, pixel_format: str) -> Pixels:
    """Return a picture in another pixel format.

    Args:
        pixels: uint8 [H, W, 3] RGB, with an even height and width.
        pixel_format: "rgb"; "bayer_rggb", "bayer_bggr", "bayer_grbg" or "bayer_gbrg", of which each pixel keeps one
            colour; "yuyv" or "nv12", in which pixels share their chroma (BT.601, studio swing).

    Returns:
        uint8: [H, W, 3] for RGB, [H, W] for Bayer, [H, W, 2] for YUYV, [H * 3/2, W] for NV12.

    Raises:
        ValueError: there is no such format, or a side is odd.
    """
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        raise ValueError(f"a picture of a sensor has an even height and width, got {height}x{width}")
    if pixel_format == "rgb":
        return pixels
    if pixel_format == "yuyv":
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_YUY2), np.uint8)
    if pixel_format == "nv12":
        planes = cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_I420)
        chroma = planes[height:].reshape(2, -1).T.reshape(height // 2, width)
        result: npt.NDArray[np.uint8] = np.concatenate([planes[:height], chroma]).astype(np.uint8)
        return result
    kind, _, pattern = pixel_format.partition("_")
    if kind != "bayer" or sorted(pattern) != ["b", "g", "g", "r"]:
        raise ValueError(f"{pixel_format!r} is no pixel format")
    mosaic = np.empty((height, width), np.uint8)
    for place, colour in enumerate(pattern):
        row, column = divmod(place, 2)
        mosaic[row::2, column::2] = pixels[row::2, column::2, "rgb".index(colour)]
    return mosaic
