"""The NMS model's arithmetic; its folder is no package, Triton loads it by path."""

from __future__ import annotations

from server.modules import load_module
from tests.conftest import REPOSITORY

postprocess = load_module(REPOSITORY / "nms" / "1" / "postprocess.py")
