"""What users of the server import and run: detection and evaluation."""

from __future__ import annotations

from triton_yolo.clients.async_detector import AsyncDetector
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.errors import DetectionError, ServerUnavailable
from triton_yolo.clients.frames import Frames
from triton_yolo.clients.request import Image

__all__ = ["AsyncDetector", "DetectionError", "Detections", "Detector", "Frames", "Image", "ServerUnavailable"]
