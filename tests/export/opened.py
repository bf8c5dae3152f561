"""Opening a network as the command line does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from tests.export.layouts import FAMILIES, Family, network
from triton_yolo.export.network import Network, prepare
from triton_yolo.export.pixels import PixelFormat
from triton_yolo.export.recognise import ExportOptions, RecognisedNetwork, recognise
from triton_yolo.graphs.onnx_file import checked

ASKED = ("xyxy", "split")  # heads whose input the user has to name


def opened(
    model: onnx.ModelProto,
    size: tuple[int, int] | None = None,
    head: str | None = None,
    input: str | None = None,
    centred: bool | None = None,
    labels: tuple[str, ...] | None = None,
    rounding: str | None = None,
    every_class: bool = False,
) -> tuple[Network, RecognisedNetwork]:
    """Check, prepare and recognise a network, with what the user may say of it."""
    prepared = prepare(checked(model), size)
    pixels = PixelFormat.parse(input) if input else None
    return prepared, recognise(prepared, ExportOptions(head, pixels, centred, rounding, labels, every_class))


def opened_family(name: str, **options: Any) -> tuple[Network, RecognisedNetwork]:
    """Open the small network of one family; ``options`` are those of ``layouts.network``."""
    family = FAMILIES[name]
    return opened(family_network(family, **options), input=family.input if name in ASKED else None)


def family_network(family: Family, **options: Any) -> onnx.ModelProto:
    """The small network of one family, with class names."""
    options.setdefault("classes", 3)
    options.setdefault("names", [f"kind{i}" for i in range(options["classes"])])
    return network(family, **options)


def run(model: onnx.ModelProto, images: npt.NDArray[Any]) -> list[npt.NDArray[np.float32]]:
    """All outputs of a graph with one input."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: images}))


def pictures(count: int, size: tuple[int, int] = (320, 320), seed: int = 0) -> npt.NDArray[np.uint8]:
    """Random colours in blocks of 8 pixels, uint8 [count, 3, H, W]: every cell of a network sees others."""
    blocks = np.random.default_rng(seed).integers(0, 256, (count, 3, size[0] // 8, size[1] // 8), np.uint8)
    return blocks.repeat(8, 2).repeat(8, 3)


def best_rows(boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], most: int) -> Sequence[list[float]]:
    """The rows x1, y1, x2, y2, score, class of one image, [A, 4] and [A, C], best first."""
    rows = [[*map(float, box), float(row.max()), float(row.argmax())] for box, row in zip(boxes, scores, strict=True)]
    return sorted(rows, key=lambda row: -row[4])[:most]
