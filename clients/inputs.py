"""Requests for images and frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.images import Image, load
from triton_yolo.clients.memory.frames import Frames, check_pixels
from triton_yolo.clients.request import ENCODED, FRAMES, Pixels, Request


def image_request(image: Image, parameters: Mapping[str, float | int]) -> Request:
    """Return the request for one image.

    Args:
        image: what ``load`` takes.
        parameters: parameters of the request.

    Raises:
        DetectionError: the file cannot be read, or it is no image.
    """
    source = str(image) if isinstance(image, str | Path) else ""
    loaded = load(image)
    if isinstance(loaded, np.ndarray):
        return Request(FRAMES, "frames", loaded[None], parameters, source)
    return Request(ENCODED, "image", np.frombuffer(loaded, np.uint8)[None], parameters, source)


def frames_request(frames: Pixels | Frames, parameters: Mapping[str, float | int], count: int | None = None) -> Request:
    """Return the request for a batch of frames.

    Args:
        frames: uint8 [B, H, W, 3] RGB, or what a detector's ``frames`` returned.
        parameters: parameters of the request.
        count: number of frames to send, from the first; all where None.

    Raises:
        DetectionError: the frames have another dtype or shape, are fewer than the count, or have been closed.
    """
    if not isinstance(frames, np.ndarray | Frames):
        raise DetectionError(f"frames are one uint8 array [B, H, W, 3] of RGB pixels; got {type(frames).__qualname__}")
    if isinstance(frames, np.ndarray):
        check_pixels(frames, "[B, H, W, 3]")
    if count is not None and not 1 <= count <= frames.shape[0]:
        raise DetectionError(f"count must be from 1 to the {frames.shape[0]} that there are; got {count}")
    if isinstance(frames, np.ndarray):
        return Request(FRAMES, "frames", frames[:count], parameters)
    return Request(FRAMES, "frames", frames.part((count or frames.shape[0], *frames.shape[1:])), parameters)
