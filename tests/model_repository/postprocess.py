"""The NMS model's arithmetic; its folder is no package, Triton loads it by path."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from tests.conftest import REPOSITORY


def load() -> ModuleType:
    """Import nms/1/postprocess.py."""
    spec = importlib.util.spec_from_file_location("nms_postprocess", REPOSITORY / "nms" / "1" / "postprocess.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


postprocess = load()
