"""Makes the proof that a served graph carries."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx

from triton_yolo.cli.progress import working
from triton_yolo.export.errors import ExportError
from triton_yolo.export.served_model import served_model_of
from triton_yolo.export.served_proof import ARITHMETICS, GREYS, Floats, Pixels, ServedProof, detections, proof_of
from triton_yolo.files import write_together
from triton_yolo.graphs.runner import Runner
from triton_yolo.nms.thresholds import Thresholds

PICTURES = 4  # of a proof
FEW = 12  # detections; where the threshold leaves fewer, it is lowered to compare as many
LOWEST = 0.001  # scores below are noise
TINTS = ((1.0, 0.3, 0.3), (0.3, 0.3, 1.0))  # red and blue light, which show a network whose planes are swapped


def make_proof(graph: onnx.ModelProto, content: bytes, pictures: Pixels, thresholds: Thresholds) -> ServedProof:
    """Choose pictures that tell right from wrong, and record what ONNX Runtime finds in them on the CPU.

    Half of the pictures are those with the most detections; the other half, under coloured light, those whose
    detections change most when red and blue are swapped.

    Args:
        graph: that is served.
        content: of its file.
        pictures: uint8 [N, 3, H, W], RGB, letterboxed.
        thresholds: the repository's; the one of the score is lowered if it leaves too few detections to compare.

    Raises:
        ExportError: nothing is found in any picture.
    """
    score, iou = thresholds.score, thresholds.iou
    runner = Runner(graph)
    plain = [smooth(picture) for picture in pictures]
    run = partial(_candidates, runner)
    with working("Choosing the pictures of the proof"):
        found = sorted(((picture, run(picture)) for picture in plain), key=lambda pair: -_number(pair[1], score, iou))
        tinted = [tint(picture, light) for picture, _ in found[:PICTURES] for light in TINTS]
        pairs = [(picture, run(picture), run(picture[::-1])) for picture in tinted]
    pairs.sort(key=lambda pair: -_difference(pair[1], pair[2], score, iou))
    half = PICTURES // 2
    chosen, candidates = zip(*found[:half], *(pair[:2] for pair in pairs[:half]), strict=True)
    threshold = _threshold(candidates, score, iou)
    return ServedProof(
        np.stack(chosen),
        tuple(rows[rows[:, 4] >= threshold / 2] for rows in candidates),
        hashlib.sha256(content).hexdigest(),
        arithmetic_of(graph),
        threshold,
        iou,
    )


def write_graph(path: Path, graph: onnx.ModelProto, pictures: Pixels) -> None:
    """Write a graph and its proof into an existing repository, both or neither.

    Args:
        path: REPOSITORY/yolo/1/model.onnx.
        graph: the served graph.
        pictures: as make_proof takes them.

    Raises:
        ExportError: the graph finds nothing in the pictures.
        OSError: a file cannot be written.
    """
    content = graph.SerializeToString(deterministic=True)
    thresholds = served_model_of(graph, path).thresholds
    proof = make_proof(graph, content, pictures, thresholds)
    write_together({path: content, proof_of(path): proof.to_bytes()})


def smooth(picture: Pixels) -> Pixels:
    """Take the sensor's noise and the finest grey levels out of a picture uint8 [3, H, W], which then is small."""
    pixels = cv2.bilateralFilter(np.ascontiguousarray(picture.transpose(1, 2, 0)), 9, 40, 9)
    return _coarse(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def tint(picture: Pixels, light: Sequence[float]) -> Pixels:
    """Return a picture of smooth() under light of these shares of red, green and blue."""
    factors = np.array(light, np.float32)[:, None, None]
    return _coarse(picture * factors)


def _coarse(pixels: npt.NDArray[Any]) -> Pixels:
    return np.asarray(pixels // GREYS * GREYS, np.uint8)


def arithmetic_of(graph: onnx.ModelProto) -> str:
    """Return what most of a graph computes in, one of ARITHMETICS."""
    if any(node.op_type == "QuantizeLinear" for node in graph.graph.node):
        return "int8"
    halves = sum(t.data_type == onnx.TensorProto.FLOAT16 for t in graph.graph.initializer)
    return ARITHMETICS[1] if 2 * halves > len(graph.graph.initializer) else ARITHMETICS[0]


def _candidates(runner: Runner, picture: Pixels) -> Floats:
    [found] = runner.run(np.ascontiguousarray(picture[None])).values()
    return np.asarray(found[0], np.float32)


def _number(candidates: Floats, score: float, iou: float) -> int:
    return len(detections(candidates, score, iou))


def _difference(one: Floats, other: Floats, score: float, iou: float) -> float:
    """Return the sum of the differences between the scores of two answers' detections."""
    kept = [detections(rows, score, iou) for rows in (one, other)]
    classes = np.unique(np.concatenate(kept)[:, 5])
    first, second = (np.array([rows[rows[:, 5] == c, 4].sum() for c in classes]) for rows in kept)
    return float(np.abs(first - second).sum())


def _threshold(candidates: Sequence[Floats], score: float, iou: float) -> float:
    scores = np.sort(np.concatenate([detections(rows, LOWEST, iou)[:, 4] for rows in candidates]))[::-1]
    if not len(scores):
        raise ExportError(
            "the network finds nothing in the pictures of the proof: give pictures with what it detects, --images DIR"
        )
    return min(score, float(scores[min(FEW, len(scores)) - 1]))
