"""The half of a network that runs beside the camera: pixels in, INT8 features out."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.errors import DetectionError
from triton_yolo.letterboxing import letterboxed
from triton_yolo.nms.letterbox import Letterbox

GRAPH = "edge.onnx"  # in a model repository
SUFFIX = ".proof.npz"  # in place of the graph's own
GREYS = 8  # pictures have every eighth grey level, so that they take few bytes
# Steps of INT8 by which features may differ from the proof's. Right runtimes of the default model differ by 0.3 in the
# mean and 11 at most, one that saturates by 3.7 and 128.
MEAN_STEPS, MOST_STEPS = 1.0, 32

Pixels = npt.NDArray[np.uint8]
Features = npt.NDArray[np.int8]
Compute = Callable[[Pixels], Features]  # from uint8 [1, 3, H, W] to int8 [L]


@dataclass(frozen=True)
class EdgeProof:
    """What the half must compute, and how frames come into it; lies beside its graph.

    Attributes:
        network: what tells its network from others.
        letterbox: how frames are fitted into its input.
        pixels: uint8 [P, 3, H, W], RGB, letterboxed.
        features: int8 [P, L], what ONNX Runtime makes of them on a CPU.
        graph_sha256: of the graph's file.
    """

    network: str
    letterbox: Letterbox
    pixels: Pixels
    features: Features
    graph_sha256: str

    def to_bytes(self) -> bytes:
        """Return the file's content; the same proof gives the same bytes."""
        about = {"network": self.network, "graph_sha256": self.graph_sha256, "letterbox": asdict(self.letterbox)}
        file = io.BytesIO()
        np.savez_compressed(
            file,
            pixels=self.pixels // GREYS,
            features=self.features,
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
        )
        return file.getvalue()

    @classmethod
    def beside(cls, graph: Path) -> EdgeProof:
        """Read the proof beside a graph.

        Raises:
            DetectionError: it is missing, damaged, or another graph's.
        """
        path = graph.with_suffix(SUFFIX)
        try:
            digest = hashlib.sha256(graph.read_bytes()).hexdigest()
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                about = json.loads(bytes(file["about"]))
                box = Letterbox(**about.pop("letterbox"))
                proof = cls(pixels=file["pixels"] * np.uint8(GREYS), features=file["features"], letterbox=box, **about)
        except OSError as error:
            raise DetectionError(
                f"cannot read {error.filename}: {error.strerror}; `triton-yolo export --split` writes {GRAPH} and its "
                "proof into the model repository"
            ) from None
        except Exception as error:  # zipfile, zlib, NumPy and json have an error of their own for each kind of damage
            raise DetectionError(f"{path} is no proof of an edge half, or damaged: {type(error).__name__}") from None
        if proof.graph_sha256 != digest:
            raise DetectionError(f"{path} is the proof of another graph than {graph}: copy both from one repository")
        return proof

    def check(self, compute: Compute) -> None:
        """Hold what a runtime computes against the proof.

        Raises:
            DetectionError: it is something else; says by how much.
        """
        found = np.stack([np.asarray(compute(picture[None])).reshape(-1) for picture in self.pixels])
        if found.shape != self.features.shape or found.dtype != np.int8:
            raise DetectionError(
                f"the edge half gives {found.dtype} {list(found.shape[1:])}, not int8 {list(self.features.shape[1:])}"
            )
        apart = np.abs(found.astype(np.int16) - self.features)
        if apart.mean() > MEAN_STEPS or apart.max() > MOST_STEPS:
            raise DetectionError(
                f"the edge half's features are {apart.mean():.2f} steps of INT8 apart from its proof in the mean and "
                f"{apart.max()} at most; {MEAN_STEPS:g} and {MOST_STEPS} are right"
            )


class Edge:
    """The half beside the camera, ready to run; for any number of streams and threads, which take turns.

    Attributes:
        proof: of the half.
    """

    def __init__(self, proof: EdgeProof, compute: Compute) -> None:
        """Take a runtime, and hold it against the proof.

        Args:
            proof: of the half.
            compute: from pixels uint8 [1, 3, H, W], letterboxed, to features int8 [L]: OpenVINO's, as ``load`` makes
                it, or another runtime's, such as a TensorRT plan of the graph.

        Raises:
            DetectionError: the runtime is wrong.
        """
        proof.check(compute)
        self.proof, self._compute, self._lock = proof, compute, threading.Lock()

    @classmethod
    def load(cls, graph: str | Path) -> Edge:
        """Compile the half with OpenVINO for this processor, in INT8 where that is right here.

        Args:
            graph: ``edge.onnx`` of a model repository, with its proof beside it.

        Raises:
            DetectionError: a file is missing, or nothing computes it right here.
        """
        path = Path(graph)
        proof, told = EdgeProof.beside(path), ""
        for compute in _compiled(path):
            try:
                return cls(proof, compute)
            except DetectionError as error:
                told = str(error)
        raise DetectionError(f"{path}: OpenVINO is wrong on this processor: {told}")

    @property
    def length(self) -> int:
        """L, the number of a frame's features."""
        return self.proof.features.shape[1]

    def features(self, frame: Pixels) -> Features:
        """Return the features int8 [L] of a frame uint8 [H, W, 3] RGB."""
        pixels = letterboxed(frame, self.proof.letterbox)[None]
        with self._lock:
            return np.asarray(self._compute(pixels)).reshape(-1)


def _compiled(path: Path) -> Iterator[Compute]:
    """Yield the graph as OpenVINO computes it: in INT8 where it has that, and with Q/DQ pairs in float."""
    from triton_yolo.openvino_graph import answer_of, read_graph
    from triton_yolo.openvino_runtime import core, ov

    for options in ({}, {"LP_TRANSFORMS_MODE": "NO"}):
        usual: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
        request = core.compile_model(read_graph(path), "CPU", usual | options).create_infer_request()

        def compute(pixels: Pixels, request: Any = request) -> Features:
            request.infer({0: ov.Tensor(pixels, shared_memory=True)})
            return np.array(answer_of(request))  # the next frame goes to the same memory

        yield compute
