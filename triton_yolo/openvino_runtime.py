"""OpenVINO, imported in the one way that is safe here: every module takes it from this one.

Its package sends an event to Google Analytics at each import, from a process that it forks in a thread. Besides telling
others of a plant's machines, a fork beside other threads can block for ever on a lock that one of them held (seen: on
that of an import). Without the package ``openvino_telemetry`` OpenVINO sends nothing, so here that one is not found.

Its bindings find NumPy at their first tensor, under a lock that they take while they hold the interpreter's: two
threads that do so at once can block each other for ever (seen). So the first tensor is made here.

One core serves the whole process, and lives as long. The threads that call back belong to it: where it goes while one
of them is about to return, that thread waits for itself, which ends the process or never ends (2026.4; seen once in a
thousand times with asynchronous requests).
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # an import of it fails

import openvino as ov  # noqa: E402  # after the line above
import openvino.opset13 as operators  # noqa: E402

__all__ = ["core", "operators", "ov"]

core = ov.Core()
_first: Any = ov.Tensor(np.zeros(1, np.float32), shared_memory=True).data
