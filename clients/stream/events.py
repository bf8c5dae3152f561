"""What sinks are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict


@dataclass(frozen=True, eq=False)
class Picture:
    """The picture of a frame, for a sink that has asked for it; it comes before or after the frame's verdict.

    Attributes:
        verdict: the verdict on the frame.
        image: uint8 [height, width, 3] BGR, as OpenCV has it; not to be changed, since other sinks may have it too.
        scale: pixels of the image for each pixel of the frame, in which boxes are given.
    """

    verdict: FrameVerdict
    image: npt.NDArray[np.uint8]
    scale: float


@dataclass(frozen=True)
class CameraStatus:
    """A camera has changed its state.

    Attributes:
        camera: name of the camera.
        state: "opening", "running", "waiting" to be opened anew, "ended" or "failed".
        trouble: why, in words; empty where all is well.
    """

    camera: str
    state: str
    trouble: str


@dataclass(frozen=True)
class LineStatus:
    """How the line is, once a second.

    Attributes:
        away: why the server is away; empty if it is there.
        report: the report so far, as ``report.report`` makes it.
    """

    away: str
    report: Mapping[str, Any]


Event = FrameVerdict | BoardVerdict | Picture | CameraStatus | LineStatus
