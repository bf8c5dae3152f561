"""What OpenCV makes of the frames of sensors."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from triton_yolo.clients.pixel_formats import PIXEL_FORMATS

# OpenCV's names of patterns begin at the first pixel where they have four letters.
CODES = {
    "bayer_rggb": cv2.COLOR_BayerRGGB2RGB,
    "bayer_bggr": cv2.COLOR_BayerBGGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGRBG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGBRG2RGB,
    "yuyv": cv2.COLOR_YUV2RGB_YUYV,
    "nv12": cv2.COLOR_YUV2RGB_NV12,
}
BAYER = [name for name in CODES if name.startswith("bayer")]
VIDEO = ["yuyv", "nv12"]


def converted(frame: npt.NDArray[np.uint8], pixel_format: str) -> npt.NDArray[np.uint8]:
    """RGB uint8 [H, W, 3], as a client would send it that converts by itself; Bayer is interpolated bilinearly."""
    return np.asarray(cv2.cvtColor(frame, CODES[pixel_format]), np.uint8)


def noise(pixel_format: str, height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A frame of noise, which has every value and every edge; in video also values that no camera should send."""
    shape = PIXEL_FORMATS[pixel_format].shape(height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def inputs(pixel_format: str, *frames: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray]:
    """What a model for this format takes."""
    return {"frames": np.stack(frames), **PIXEL_FORMATS[pixel_format].inputs(len(frames))}


def model(pixel_format: str, step: str = "preprocess") -> str:
    """The model for this format: of its ensemble "detect", or of the step before the network."""
    return PIXEL_FORMATS[pixel_format].model.replace("detect", step)
