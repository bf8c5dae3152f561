"""The client: what users of a server import and run.

It runs on Linux, Windows and macOS, wherever NumPy, gRPC and urllib3 or aiohttp do: images and frames in "plain" memory
over gRPC and HTTP, and the commands detect and evaluate. Two kinds of memory have needs of their own, and say so with a
DetectionError where they are missing: memory="system" needs Linux and a server on the same machine; memory="cuda" needs
Linux, cuda-python, and a server that uses the same NVIDIA GPU.
"""

from __future__ import annotations

from triton_yolo.clients.access import Access
from triton_yolo.clients.async_detector import AsyncDetector
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.errors import AnswerLate, DetectionError, ServerBusy, ServerUnavailable
from triton_yolo.clients.images import Image
from triton_yolo.clients.memory.frames import Frames

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
