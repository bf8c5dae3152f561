"""A small served graph with something to quantise, in a repository, and pictures in which it finds boxes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import numpy_helper, parser

from tests.conftest import ROOT
from tests.export.layouts import FAMILIES
from tests.export.opened import family_network, pictures

BACKBONE = """<ir_version: 10, opset_import: ["" : 20]>
backbone (float[B, 3, 320, 320] images) => (float[B, 3, 320, 320] features)
{
    [first] c1 = Conv <pads = [1, 1, 1, 1]> (images, w1, b1)
    g1 = Sigmoid (c1)  a1 = Mul (c1, g1)
    [second] c2 = Conv <pads = [1, 1, 1, 1]> (a1, w2, b1)
    g2 = Sigmoid (c2)  a2 = Mul (c2, g2)
    [third] c3 = Conv <pads = [1, 1, 1, 1]> (a2, w3, b1)
    g3 = Sigmoid (c3)  a3 = Mul (c3, g3)
    s = Add (a2, a3)
    wide = Concat <axis = 1> (s, a1)
    [fourth] c4 = Conv (wide, w4)
    part = Mul (c4, tenth)
    features = Add (images, part)
}"""
LAYERS = ("first", "second", "third", "fourth")
"""The convolutions before the head; ``third`` stands in a residual, ``fourth`` reads a concatenation."""


def network(seed: int = 0, spread: float = 3.0) -> onnx.ModelProto:
    """A YOLOv8 layout with four convolutions before its head, 320x320, three classes.

    Args:
        seed: of the weights.
        spread: how much larger one channel is than the others; large ones quantise badly.
    """
    model = family_network(FAMILIES["yolov8"], seed=seed)
    backbone = parser.parse_model(BACKBONE)
    rng = np.random.default_rng(seed)
    weights = {
        "w1": rng.normal(size=(8, 3, 3, 3)),
        "b1": rng.normal(size=8) * 0.1,
        "w2": rng.normal(size=(8, 8, 3, 3)) / 6,
        "w3": rng.normal(size=(8, 8, 3, 3)) / 6,
        "w4": rng.normal(size=(3, 16, 1, 1)) / 4,
        "tenth": np.array(0.1),
    }
    weights["w1"][0] *= spread
    weights["w4"][:, [0, 8]] /= spread
    for node in model.graph.node:
        node.input[:] = ["features" if name == "images" else name for name in node.input]
    head = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*backbone.graph.node, *head])
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    onnx.checker.check_model(model, full_check=True)
    return model


def repository(folder: Path, **options: float) -> Path:
    """Export the network, and return its served graph.

    Args:
        folder: to work in.
        options: of network.
    """
    onnx.save(network(**options), folder / "small.onnx")
    command = [sys.executable, "-m", "triton_yolo", "export", "small.onnx", "--repository", "small", "--top-k", "30"]
    command += ["--input", "rgb-0-1"]
    subprocess.run(command, cwd=folder, check=True, env={"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=120)
    return folder / "small" / "yolo" / "1" / "model.onnx"


def images(folder: Path, count: int, seed: int = 0) -> Path:
    """Write pictures as PNGs of 320x320 pixels."""
    folder.mkdir()
    for number, planes in enumerate(pictures(count, seed=seed)):
        cv2.imwrite(str(folder / f"{number:03d}.png"), cv2.cvtColor(planes.transpose(1, 2, 0), cv2.COLOR_RGB2BGR))
    return folder
