"""How an INT8 graph was found and how good it is, for the report."""

from __future__ import annotations

import hashlib
import math
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from triton_yolo.calibration.layers import Convolution
from triton_yolo.calibration.ranges import sha256_of
from triton_yolo.calibration.search import Search, Step
from triton_yolo.calibration.sensitivity import Sensitivity
from triton_yolo.clients.coco import Result
from triton_yolo.machine import describe_machine


@dataclass
class Stopwatch:
    """How long each part takes, in seconds."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 1)

    def document(self) -> dict[str, Any]:
        """Return the times, and the peak memory of this process in MB."""
        return {"seconds": self.seconds, "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000}


@dataclass(frozen=True)
class MethodResult:
    """All but the last convolutions in INT8, with the ranges of one method: noise to signal, and mAP50-95."""

    noise: float
    precision: float


@dataclass(frozen=True)
class CalibrationSummary:
    """How a graph came to be.

    Attributes:
        path: of the float graph.
        model: the float graph.
        graph: the INT8 graph.
        layers: all convolutions.
        before: precision of the float graph.
        search: that found it.
        step: of the search, the one that is written.
        alone: results of each layer by itself.
        best: method of each tensor that convolutions read.
        values: range of each tensor that convolutions read.
        methods: results of each method by itself.
    """

    path: Path
    model: onnx.ModelProto
    graph: onnx.ModelProto
    layers: Sequence[Convolution]
    before: Result
    search: Search
    step: Step
    alone: Sensitivity
    best: Mapping[str, str]
    values: Mapping[str, tuple[float, float]]
    methods: Mapping[str, MethodResult]

    def document(self, elsewhere: Result) -> dict[str, Any]:
        """Return it as JSON can carry it.

        Args:
            elsewhere: precision of the INT8 graph in ONNX Runtime.
        """
        content = self.graph.SerializeToString(deterministic=True)
        total, left = sum(layer.macs for layer in self.layers), self._macs(self.step)
        size = self.path.stat().st_size
        return {
            "graph": self.path.name,
            "graph_sha256": sha256_of(self.model),
            "int8_sha256": hashlib.sha256(content).hexdigest(),
            "versions": versions(),
            "drop": self._drop(self.step.result),
            "float": precision(self.before),
            "int8": precision(self.step.result),
            "int8_onnxruntime": precision(elsewhere),
            "macs": {"total": total, "int8": left, "share": round(left / total, 5)},
            "bytes": {"float": size, "int8": len(content), "share": round(len(content) / size, 5)},
            "methods": {
                name: {"sqnr_db": decibels(method.noise), "map50_95": round(method.precision, 5)}
                for name, method in self.methods.items()
            },
            "layers": [self._layer(layer) for layer in self.layers],
            "path": [self._point(step) for step in self.search.path],
        }

    def _macs(self, step: Step) -> int:
        return sum(layer.macs for layer in self.layers if layer.name not in step.floats)

    def _drop(self, result: Result) -> float:
        return round(1 - result.overall.ap50_95 / self.before.overall.ap50_95, 5)

    def _layer(self, layer: Convolution) -> dict[str, Any]:
        floats = layer.name in self.step.floats
        return {
            "name": layer.name,
            "macs": layer.macs,
            "parameters": layer.parameters,
            "int8": not floats,
            "float_because": ("last convolution" if layer.last else "search") if floats else None,
            "method": self.best[layer.input],
            "range": list(self.values[layer.input]),
            "sqnr_db": {m: decibels(noise[layer.name]) for m, noise in self.alone.noise.items() if layer.name in noise},
            "map50_95": _rounded(self.alone.precision.get(layer.name)),
        }

    def _point(self, step: Step) -> dict[str, Any]:
        return {
            "int8_macs": round(self._macs(step) / sum(layer.macs for layer in self.layers), 5),
            "float_layers": len(step.floats),
            "map50_95": _rounded(step.result.overall.ap50_95),
            "drop": self._drop(step.result),
            "within": self.search.enough(step),
        }


def decibels(ratio: float) -> float | None:
    """Signal to noise in dB of a noise to signal ratio, None where there is no noise."""
    return round(-10 * math.log10(ratio), 2) if ratio > 0 else None


def precision(result: Result) -> dict[str, Any]:
    """Average precision, None where a class has no box to find."""
    return {
        "map50_95": _rounded(result.overall.ap50_95),
        "map50": _rounded(result.overall.ap50),
        "per_class": {
            name: {"ap50_95": _rounded(each.ap50_95), "ap50": _rounded(each.ap50)}
            for name, each in result.per_class.items()
        },
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 5)


def versions() -> dict[str, Any]:
    """Return what figures depend on beside the graph and the images: packages and the processor."""
    machine = describe_machine()
    return {
        **{name: version(name) for name in ("openvino", "onnxruntime", "onnx")},
        "cpu": machine["processor"],
        "cores": machine["cores"],
    }
