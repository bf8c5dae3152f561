"""The client: what users of a server import and run.

It runs on Linux, Windows and macOS, wherever NumPy, gRPC and urllib3 or aiohttp do: images and frames in "plain" memory
over gRPC and HTTP, and the commands detect and evaluate. Two kinds of memory have needs of their own, and say so with a
DetectionError where they are missing: memory="system" needs Linux and a server on the same machine; memory="cuda" needs
Linux, cuda-python, and a server that uses the same NVIDIA GPU.

Names are loaded when they are first used: programs that take one module of the client's don't load the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triton_yolo.clients.access import Access
    from triton_yolo.clients.async_detector import AsyncDetector
    from triton_yolo.clients.detections import Detections
    from triton_yolo.clients.detector import Detector
    from triton_yolo.clients.errors import AnswerLate, DetectionError, ServerBusy, ServerUnavailable
    from triton_yolo.clients.images import Image
    from triton_yolo.clients.memory.frames import Frames

MODULES = {
    "Access": "access",
    "AnswerLate": "errors",
    "AsyncDetector": "async_detector",
    "DetectionError": "errors",
    "Detections": "detections",
    "Detector": "detector",
    "Frames": "memory.frames",
    "Image": "images",
    "ServerBusy": "errors",
    "ServerUnavailable": "errors",
}
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


def __getattr__(name: str) -> object:
    """Load a name (PEP 562)."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Return the names that can be loaded among the module's."""
    return sorted([*globals(), *__all__])
