"""What values the convolutions read: ranges by ONNX Runtime's methods, in bounded memory, kept in files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from onnxruntime.quantization.calibrate import HistogramCollector

from triton_yolo.calibration.errors import CalibrationError
from triton_yolo.calibration.pictures import Pictures
from triton_yolo.cli.progress import tracked
from triton_yolo.files import write_whole

METHODS = ("minmax", "entropy", "percentile")
BINS, LEVELS = 1024, 256  # of a histogram from -max to max; levels that entropy weighs it against
PERCENTILE = 99.999

Histogram = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], np.float32, np.float32, np.float32]


@dataclass(frozen=True)
class Ranges:
    """Lowest and highest value that quantisation represents, by tensor.

    Attributes:
        method: one of METHODS.
        graph: SHA-256 of the float graph.
        images: SHA-256 of each image file, in their order.
        values: by tensor.
    """

    method: str
    graph: str
    images: tuple[str, ...]
    values: Mapping[str, tuple[float, float]]

    def path(self, folder: Path, name: str) -> Path:
        """Return its file in a folder; other graphs, images and methods have others."""
        return _path(folder, name, self.method, self.graph, self.images)

    def write(self, folder: Path, name: str) -> Path:
        """Write the file, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        path = self.path(folder, name)
        document = {"method": self.method, "settings": _settings(self.method), "graph_sha256": self.graph}
        document |= {"images_sha256": self.images, "ranges": self.values}
        write_whole(path, f"{json.dumps(document, indent=1)}\n".encode())
        return path


def _settings(method: str) -> dict[str, float]:
    if method == "minmax":
        return {}
    return {"bins": BINS} | ({"levels": LEVELS} if method == "entropy" else {"percentile": PERCENTILE})


def _path(folder: Path, name: str, method: str, graph: str, images: Sequence[str]) -> Path:
    key = hashlib.sha256(" ".join([graph, *images]).encode()).hexdigest()[:12]
    return folder / f"{name}-{key}-{method}.json"


def sha256_of(model: onnx.ModelProto) -> str:
    """Return the SHA-256 of a graph, as hexadecimal digits."""
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def read_ranges(
    folder: Path, name: str, method: str, graph: str, images: Sequence[str], tensors: Sequence[str]
) -> Ranges | None:
    """Read what an earlier run with this method, graph and images wrote.

    Returns:
        None if there is no such file, or it is damaged.
    """
    try:
        content = json.loads(_path(folder, name, method, graph, images).read_bytes())
        origin = (content["method"], content["settings"], content["graph_sha256"], content["images_sha256"])
        values = {name: (float(low), float(high)) for name, (low, high) in content["ranges"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if origin != (method, _settings(method), graph, list(images)) or set(values) != set(tensors):
        return None
    return Ranges(method, graph, tuple(images), values)


def collect(
    model: onnx.ModelProto, tensors: Sequence[str], pictures: Pictures, methods: Sequence[str]
) -> dict[str, Ranges]:
    """Run the images through the float graph, one at a time, and collect.

    ONNX Runtime's own calibrators hold every tensor of every image, and bin them by the range of the first one; so
    its collector gets the tensors image by image, after a first pass for the extremes that all histograms are binned
    by. Memory is bounded by the tensors of one image, and the order of the images does not matter.

    Args:
        model: the float graph.
        tensors: what convolutions read.
        pictures: to run.
        methods: of METHODS.

    Returns:
        by method.

    Raises:
        CalibrationError: a tensor has infinite or undefined values.
    """
    session = _session(model, tensors)
    extremes = _extremes(session, tensors, pictures)
    found: dict[str, Mapping[str, tuple[float, float]]] = {"minmax": extremes}
    if set(methods) - {"minmax"}:
        histograms = _histograms(session, tensors, pictures, extremes)
        if "percentile" in methods:
            found["percentile"] = _of_histograms(histograms, "percentile")
        if "entropy" in methods:
            found["entropy"] = _entropy(histograms)
    graph = sha256_of(model)
    return {method: Ranges(method, graph, pictures.hashes, found[method]) for method in methods}


def _session(model: onnx.ModelProto, tensors: Sequence[str]) -> ort.InferenceSession:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _extremes(
    session: ort.InferenceSession, tensors: Sequence[str], pictures: Pictures
) -> dict[str, tuple[float, float]]:
    low, high = np.full(len(tensors), np.inf, np.float32), np.full(len(tensors), -np.inf, np.float32)
    source = session.get_inputs()[0].name
    for pixels, _ in tracked(pictures, len(pictures), "Extremes"):
        values = session.run(None, {source: pixels[None]})
        low = np.minimum(low, [value.min() for value in values])
        high = np.maximum(high, [value.max() for value in values])
    if wild := [name for i, name in enumerate(tensors) if not np.isfinite([low[i], high[i]]).all()]:
        raise CalibrationError(f"the network computes infinities or NaN from these images, first in {wild[0]}")
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(tensors)}


def _histograms(
    session: ort.InferenceSession,
    tensors: Sequence[str],
    pictures: Pictures,
    extremes: Mapping[str, tuple[float, float]],
) -> dict[str, Histogram]:
    collector = _collector()
    source = session.get_inputs()[0].name
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        # The first values make the bins; then no image can widen them.
        collector.collect({name: np.array(extremes[name], np.float32) for name in tensors})
    for pixels, _ in tracked(pictures, len(pictures), "Histograms"):
        values = session.run(None, {source: pixels[None]})
        with contextlib.redirect_stdout(io.StringIO()):
            collector.collect(dict(zip(tensors, values, strict=True)))
    return dict(collector.histogram_dict)


def _collector() -> HistogramCollector:
    return HistogramCollector("entropy", False, BINS, LEVELS, PERCENTILE, "same")


def _of_histograms(histograms: Mapping[str, Histogram], method: str) -> dict[str, tuple[float, float]]:
    collector = _collector()
    collector.histogram_dict = dict(histograms)
    collector.method = method
    with contextlib.redirect_stdout(io.StringIO()):
        thresholds = collector.compute_collection_result()
    return {name: (float(low), float(high)) for name, (low, high, *_) in thresholds.items()}


def _entropy(histograms: Mapping[str, Histogram]) -> dict[str, tuple[float, float]]:
    """Choose thresholds by entropy, a tensor on each core: hundreds are tried for each, in plain Python."""
    cores, context = len(os.sched_getaffinity(0)), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, context) as pool:
        found = pool.map(_entropy_of_one, histograms.items())
        return dict(tracked(found, len(histograms), "Entropy"))


def _entropy_of_one(item: tuple[str, Histogram]) -> tuple[str, tuple[float, float]]:
    name, histogram = item
    return name, _of_histograms({name: histogram}, "entropy")[name]
