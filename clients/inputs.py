"""Requests for images and frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.images import Image, load
from triton_yolo.clients.memory.frames import Frames
from triton_yolo.clients.pixel_formats import pixel_format as format_of
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


def frames_request(
    frames: Pixels | Frames,
    parameters: Mapping[str, float | int],
    count: int | None = None,
    pixel_format: str = "rgb",
) -> Request:
    """Return the request for a batch of frames.

    Args:
        frames: uint8 [B, ...] in the pixel format, or what a detector's ``frames`` returned for it.
        parameters: parameters of the request.
        count: number of frames to send, from the first; all where None.
        pixel_format: one of PIXEL_FORMATS.

    Raises:
        DetectionError: there is no such format; the frames have another dtype or shape, are fewer than the count, or
            have been closed.
    """
    kind = format_of(pixel_format)
    if not isinstance(frames, np.ndarray | Frames):
        raise DetectionError(f"frames are one uint8 array [B, {kind.dimensions[1:]}; got {type(frames).__qualname__}")
    kind.check(frames.dtype if isinstance(frames, np.ndarray) else np.uint8, frames.shape)
    if count is not None and not 1 <= count <= frames.shape[0]:
        raise DetectionError(f"count must be from 1 to the {frames.shape[0]} that there are; got {count}")
    taken = frames.shape[0] if count is None else count
    tensor = frames[:taken] if isinstance(frames, np.ndarray) else frames.part((taken, *frames.shape[1:]))
    return Request(kind.model, "frames", tensor, parameters, others=kind.inputs(taken))
