"""What users of the server import and run: detection and evaluation."""

from __future__ import annotations

from clients.async_detector import AsyncDetector
from clients.detections import Detections
from clients.detector import Detector
from clients.errors import DetectionError, ServerUnavailable
from clients.frames import Frames
from clients.request import Image

__all__ = ["AsyncDetector", "DetectionError", "Detections", "Detector", "Frames", "Image", "ServerUnavailable"]
