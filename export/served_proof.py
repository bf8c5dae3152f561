"""The proof that a served graph carries: pictures, and what ONNX Runtime finds in them on a CPU.

A server runs the pictures before it serves the graph, and compares. This file needs NumPy only, since the server's
Python models import it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triton_yolo.contract import HEAD_MODEL
from triton_yolo.errors import TritonYoloError
from triton_yolo.nms.suppression import non_maximum_suppression
from triton_yolo.nms.thresholds import Thresholds

SUFFIX = ".proof.npz"  # in place of the graph's own: model.onnx has model.proof.npz
GREYS = 8  # pictures have every eighth grey level, so that their noise takes few bytes
MAX_COMPARED = 100  # detections of a picture that are compared; of those near K, one runtime may have another
ARITHMETICS = ("float32", "float16", "int8")  # from exact to coarse

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


class ProofError(TritonYoloError):
    """A file is not a proof of a graph; the message says what is wrong with it."""


@dataclass(frozen=True)
class Tolerance:
    """How far two runtimes may be apart.

    Attributes:
        pixels: coordinates that differ by no more are the same, since the overlap of small boxes says little.
        overlap: lowest intersection over union of a detection and its counterpart.
        mean_overlap: lowest mean of those.
        score: largest difference of their scores.
        mean_score: largest mean of those.
    """

    pixels: float
    overlap: float
    mean_overlap: float
    score: float
    mean_score: float


# The coarser arithmetic of graph and runtime counts. docs/arithmetic.md says what right and wrong runtimes show.
TOLERANCES = {
    "float32": Tolerance(0.1, 0.99, 0.999, 0.005, 0.001),
    "float16": Tolerance(0.25, 0.95, 0.99, 0.02, 0.005),
    "int8": Tolerance(0.25, 0.80, 0.97, 0.5, 0.03),
}


@dataclass(frozen=True)
class Comparison:
    """What two runtimes find in the same pictures.

    Attributes:
        detections: of the reference.
        alone: of both sides, those without a counterpart on the other.
        pixels: largest difference of a coordinate between counterparts, in pixels of the network's input.
        overlap: lowest intersection over union of counterparts; 1 where their coordinates are the same.
        mean_overlap: their mean.
        score: largest difference of scores.
        mean_score: their mean.
        tolerance: what is allowed.
    """

    detections: int
    alone: int
    pixels: float
    overlap: float
    mean_overlap: float
    score: float
    mean_score: float
    tolerance: Tolerance

    @property
    def holds(self) -> bool:
        """Return whether both find the same."""
        allowed = self.tolerance
        return (
            self.alone == 0
            and self.overlap >= allowed.overlap
            and self.mean_overlap >= allowed.mean_overlap
            and self.score <= allowed.score
            and self.mean_score <= allowed.mean_score
        )

    def __str__(self) -> str:
        """Return two figures if it holds, all of them if it does not."""
        if self.holds:
            return f"{self.detections} detections, at most {self.pixels:.2g} px and {self.score:.2g} apart"
        found = f"{self.alone} without a counterpart beside {self.detections} detections"
        if not np.isfinite(self.pixels):
            return found
        return (
            f"{found}, overlap {self.overlap:.2f} (mean {self.mean_overlap:.3f}), "
            f"scores {self.score:.2f} apart (mean {self.mean_score:.3f})"
        )

    def document(self) -> dict[str, object]:
        """Return it as JSON can carry it."""
        return {"holds": self.holds, **asdict(self)}


@dataclass(frozen=True)
class ServedProof:
    """What a served graph must find.

    Attributes:
        pixels: uint8 [P, 3, H, W], RGB, letterboxed; of a server half their features, int8 [P, L].
        candidates: for each picture float32 [R, 6], x1, y1, x2, y2 in its pixels, score, class, best first: those of
            at least half of ``score``.
        graph_sha256: of the graph's file.
        arithmetic: of the graph, one of ARITHMETICS.
        score: detections from this score on are compared.
        iou: overlap from which NMS removes the weaker of two boxes; 1 for networks that suppress boxes themselves.
    """

    pixels: npt.NDArray[Any]
    candidates: tuple[Floats, ...]
    graph_sha256: str
    arithmetic: str
    score: float
    iou: float

    def to_bytes(self) -> bytes:
        """Return the file's content; the same proof gives the same bytes."""
        about = {key: getattr(self, key) for key in ("graph_sha256", "arithmetic", "score", "iou")}
        file = io.BytesIO()
        np.savez_compressed(
            file,
            pixels=self.pixels if self.pixels.dtype == np.int8 else self.pixels // GREYS,
            rows=np.concatenate(self.candidates),
            counts=np.array([len(rows) for rows in self.candidates]),
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
        )
        return file.getvalue()

    @classmethod
    def read(cls, path: Path) -> ServedProof:
        """Read a proof's file.

        Raises:
            ProofError: the file is missing or damaged.
        """
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                ends = np.cumsum(file["counts"])[:-1]
                candidates = tuple(np.split(file["rows"], ends))
                pixels = file["pixels"] if file["pixels"].dtype == np.int8 else file["pixels"] * np.uint8(GREYS)
                return cls(pixels, candidates, **json.loads(bytes(file["about"])))
        except OSError as error:
            raise ProofError(f"cannot read {path}: {error.strerror or error}") from None
        except Exception as error:  # zipfile, zlib, NumPy and json have an error of their own for each kind of damage
            raise ProofError(f"{path} is no proof, or a damaged one: {type(error).__name__}") from None

    @classmethod
    def carried_by(cls, graph: Path) -> ServedProof:
        """Read the proof beside a graph's file.

        Raises:
            ProofError: it is missing, or belongs to another graph; says how to make it.
        """
        path = proof_of(graph)
        remedy = f"`triton-yolo prove {graph} --images DIR` makes it, of pictures with what the network detects"
        if graph.parent.parent.name == HEAD_MODEL:
            remedy = "`triton-yolo export --split` of the repository's graph makes it, with the half that it is of"
        if not path.is_file():
            raise ProofError(f"{path} is missing, with which the graph proves that it is right where it runs: {remedy}")
        try:
            proof = cls.read(path)
        except ProofError as error:
            raise ProofError(f"{error}: {remedy}") from None
        if proof.graph_sha256 != hashlib.sha256(graph.read_bytes()).hexdigest():
            raise ProofError(
                f"{path} is the proof of another graph: where the graph has been moved, move its proof along; else "
                f"{remedy}"
            )
        return proof

    def compare(self, found: Sequence[Floats], arithmetic: str) -> Comparison:
        """Compare what a runtime finds with the proof.

        Each detection of either side, which is a candidate that NMS leaves, must have a counterpart among the
        candidates of the other: of the same class, close to it and of nearly the same score. Among the candidates, and
        not among the detections, since of two with nearly the same score each runtime may keep another one.

        Args:
            found: for each picture the runtime's candidates float32 [K, 6], best first.
            arithmetic: the runtime's, one of ARITHMETICS.
        """
        tolerance = TOLERANCES[max(arithmetic, self.arithmetic, key=ARITHMETICS.index)]
        number, pairs = 0, []
        for wanted, others in zip(self.candidates, found, strict=True):
            others = np.asarray(others, np.float32)
            if not np.isfinite(others).all():
                others = others[:0]  # nothing that it says can be trusted
            ours, theirs = (detections(rows, self.score, self.iou) for rows in (wanted, others))
            number += len(ours)
            pairs += [_counterparts(ours, others, tolerance.pixels), _counterparts(theirs, wanted, tolerance.pixels)]
        alone, overlaps, scores, pixels = np.concatenate(pairs).T
        both = alone == 0
        if not both.any():
            return Comparison(number, len(alone), np.inf, 0, 0, 1, 1, tolerance)
        return Comparison(
            number,
            int(alone.sum()),
            float(pixels[both].max()),
            float(overlaps[both].min()),
            float(overlaps[both].mean()),
            float(scores[both].max()),
            float(scores[both].mean()),
            tolerance,
        )


def proof_of(graph: Path) -> Path:
    """Return the path of the proof of a graph's file."""
    return graph.with_suffix(SUFFIX)


def detections(candidates: Floats, score: float, iou: float) -> Floats:
    """Return the candidates float32 [K, 6] of one picture that NMS keeps, at most MAX_COMPARED: float32 [D, 6]."""
    kept = non_maximum_suppression(candidates, Thresholds(score, iou), MAX_COMPARED)
    return np.asarray(kept, np.float32)


def _counterparts(rows: Floats, others: Floats, same: float) -> npt.NDArray[np.float64]:
    """Find the counterpart of each row: float64 [N, 4].

    Args:
        rows: float32 [N, 6], x1, y1, x2, y2, score, class.
        others: float32 [M, 6].
        same: coordinates that differ by no more are the same.

    Returns:
        whether it has none (0 or 1), and its overlap with the row, difference of score and largest difference of a
        coordinate.
    """
    found = np.zeros((len(rows), 4))
    found[:, 0] = 1
    if not len(rows) or not len(others):
        return found
    sides = np.minimum(rows[:, None, 2:4], others[None, :, 2:4]) - np.maximum(rows[:, None, :2], others[None, :, :2])
    both = sides.clip(0).prod(2)
    areas = [(r[:, 2:4] - r[:, :2]).clip(0).prod(1) for r in (rows, others)]
    overlap = both / np.maximum(areas[0][:, None] + areas[1][None] - both, 1e-9)
    pixels = np.abs(rows[:, None, :4] - others[None, :, :4]).max(2)
    overlap[pixels <= same] = 1
    score = np.abs(rows[:, None, 4] - others[None, :, 4])
    fits = (rows[:, None, 5] == others[None, :, 5]) & (overlap >= 0.5)
    nearest = np.where(fits, 1 - overlap + score, np.inf).argmin(1)
    each = np.arange(len(rows))
    found[:, 0] = ~fits[each, nearest]
    found[:, 1], found[:, 2], found[:, 3] = (of[each, nearest] for of in (overlap, score, pixels))
    return found
