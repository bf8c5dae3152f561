"""What is sent for an image, and what the server's configuration says of the answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.frames import Frames, Pixels, check_pixels
from triton_yolo.clients.region import Region

ENCODED = "detect"  # ensemble for the bytes of a JPEG or PNG
FRAMES = "detect_frames"  # ensemble for raw pixels

Image = str | Path | bytes | Pixels


@dataclass(frozen=True)
class Request:
    """One inference request, before any transport has it.

    Attributes:
        model: the ensemble's name.
        input: the name of its one input.
        tensor: uint8, with the batch dimension first, or where such a tensor lies in shared memory.
        parameters: of the request.
    """

    model: str
    input: str
    tensor: Pixels | Region
    parameters: Mapping[str, float]


def thresholds(score: float | None, iou: float | None) -> dict[str, float]:
    """Request parameters; the server has the defaults and checks the range."""
    given = {"score_threshold": score, "iou_threshold": iou}
    return {name: float(value) for name, value in given.items() if value is not None}


def image_request(image: Image, parameters: Mapping[str, float]) -> Request:
    """Make the request for one image.

    Args:
        image: a path or the bytes of a JPEG or PNG, or a frame uint8 [H, W, 3] RGB.
        parameters: of the request.

    Raises:
        DetectionError: the file cannot be read, or it is no image of these kinds.
    """
    if isinstance(image, np.ndarray):
        check_pixels(image, "[H, W, 3]")
        return Request(FRAMES, "frames", image[None], parameters)
    if isinstance(image, str | Path):
        image = _read(Path(image))
    if not isinstance(image, bytes | bytearray | memoryview):
        raise DetectionError(
            "an image is a path, the bytes of a JPEG or PNG, or a uint8 array [H, W, 3]; "
            f"got {type(image).__module__}.{type(image).__qualname__}"
        )
    return Request(ENCODED, "image", np.frombuffer(image, np.uint8)[None], parameters)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DetectionError(f"cannot read {path}: {error.strerror}") from None


def frames_request(frames: Pixels | Frames, parameters: Mapping[str, float], count: int | None = None) -> Request:
    """Make the request for a batch of frames.

    Args:
        frames: uint8 [B, H, W, 3] RGB, or what a detector's ``frames`` made.
        parameters: of the request.
        count: how many of them, from the first; all where None.

    Raises:
        DetectionError: they have another dtype or shape, are fewer than that, or have been closed.
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


def classifier(ensemble: Mapping[str, Any]) -> str:
    """The name of the step that makes an ensemble's ``classes``: its configuration has the labels.

    Args:
        ensemble: configuration as JSON.

    Raises:
        DetectionError: the model is no such ensemble.
    """
    for step in ensemble.get("ensemble_scheduling", {}).get("step", []):
        if "classes" in step["output_map"].values():
            return str(step["model_name"])
    raise DetectionError(f"the server's model {ensemble['name']} is no ensemble with an output 'classes'")


def labels_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Class names in the network's order.

    Args:
        config: of the model that makes ``classes``, as JSON.

    Raises:
        DetectionError: it has no labels.
    """
    try:
        return tuple(map(str, json.loads(config["parameters"]["labels"]["string_value"])))
    except (KeyError, ValueError, TypeError):
        raise DetectionError(
            f"the server's model {config['name']} has no parameter 'labels' with a JSON list"
        ) from None
