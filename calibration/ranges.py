"""What values the convolutions read: ranges by ONNX Runtime's methods, in bounded memory, kept in files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from triton_yolo.calibration.histograms import BINS, FINE, Histograms
from triton_yolo.calibration.parallel import on_all_cores
from triton_yolo.calibration.pictures import Pictures
from triton_yolo.calibration.steps import said
from triton_yolo.calibration.thresholds import LEVELS, PERCENTILE, entropy_range, percentile_range
from triton_yolo.cli.progress import tracked
from triton_yolo.files import write_whole

KEPT_EVERY = 5.0  # seconds between two states that are written


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
        return ranges_path(folder, name, self.method, self.graph, self.images)

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
    return {"bins": BINS, "fine": FINE} | ({"levels": LEVELS} if method == "entropy" else {"percentile": PERCENTILE})


def ranges_path(folder: Path, name: str, method: str, graph: str, images: Sequence[str]) -> Path:
    """Return the file of ranges in a folder."""
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
        content = json.loads(ranges_path(folder, name, method, graph, images).read_bytes())
        origin = (content["method"], content["settings"], content["graph_sha256"], content["images_sha256"])
        values = {name: (float(low), float(high)) for name, (low, high) in content["ranges"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if origin != (method, _settings(method), graph, list(images)) or set(values) != set(tensors):
        return None
    return Ranges(method, graph, tuple(images), values)


def collect(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    pictures: Pictures,
    methods: Sequence[str],
    state: Path | None = None,
) -> dict[str, Ranges]:
    """Run the images through the float graph once, one at a time, and collect for all methods.

    ONNX Runtime's own calibrators hold every tensor of every image, and bin them by the range of the first one; here
    memory is bounded by the tensors of one image, and the order of the images does not matter.

    Args:
        model: the float graph.
        tensors: what convolutions read.
        pictures: to run.
        methods: of METHODS.
        state: file of what an interrupted run has collected; it is written while this one runs, and removed at its end.

    Returns:
        by method.

    Raises:
        CalibrationError: a tensor has infinite or undefined values.
        OSError: the state cannot be written.
    """
    session = _session(model, tensors)
    source = session.get_inputs()[0].name
    histograms = Histograms(tensors, counting=bool(set(methods) - {"minmax"}))
    if state:
        with contextlib.suppress(OSError, ValueError):  # there is none, or it is damaged
            histograms.resume(state.read_bytes())
    left = pictures.since(histograms.pictures)
    written = time.monotonic()
    try:
        for pixels in tracked(left.mapped(lambda pixels, size: pixels), len(left), said("ranges")):
            histograms.add(session.run(None, {source: pixels[None]}))
            if state and time.monotonic() - written > KEPT_EVERY:
                write_whole(state, histograms.to_bytes())
                written = time.monotonic()
    except KeyboardInterrupt:
        if state:
            write_whole(state, histograms.to_bytes())
        raise
    found: dict[str, Mapping[str, tuple[float, float]]] = {"minmax": histograms.extremes()}
    zero = dict.fromkeys(tensors, (0.0, 0.0))
    for method, choose in (("percentile", percentile_range), ("entropy", entropy_range)):
        if method in methods:
            binned = histograms.binned()
            chosen = tracked(on_all_cores(choose, binned.values()), len(binned), said("ranges", method))
            found[method] = zero | dict(zip(binned, chosen, strict=True))
    graph = sha256_of(model)
    return {method: Ranges(method, graph, pictures.hashes, found[method]) for method in methods}


def _session(model: onnx.ModelProto, tensors: Sequence[str]) -> ort.InferenceSession:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the histograms need the cores meanwhile
    return ort.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
