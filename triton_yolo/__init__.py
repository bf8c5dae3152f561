"""YOLO served by Triton Inference Server with as few bytes moved as possible: the client's names.

    from triton_yolo import Detector

They are loaded when they are first used, so that the server's processes don't load what only clients need.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triton_yolo.clients import (
        Access,
        AnswerLate,
        AsyncDetector,
        DetectionError,
        Detections,
        Detector,
        Frames,
        Image,
        ServerBusy,
        ServerUnavailable,
    )

__all__ = [
    "Access",
    "AnswerLate",
    "AsyncDetector",
    "DetectionError",
    "Detections",
    "Detector",
    "Frames",
    "Image",
    "ServerBusy",
    "ServerUnavailable",
]

# Since 1.29 ONNX Runtime's wheels for Linux send the names and hashes of the graphs that they load to Microsoft, unless
# this is set before the first session; programs that this one starts inherit it. OpenVINO: see openvino_runtime.py.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> object:
    """Load a name of the client's (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("triton_yolo.clients"), name)


def __dir__() -> list[str]:
    """Return the client's names among the module's."""
    return sorted([*globals(), *__all__])
