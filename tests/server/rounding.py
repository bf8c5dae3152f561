"""A repository whose letterboxed sizes are rounded down or up, and what white frames become in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from tests.server.references import PAD, placed
from tests.server.wire import Client

SIZES = [
    (1280, 641),
    (641, 1280),
    (960, 1280),
    (333, 777),
    (1, 1000),
    (1281, 961),
    (99, 100),
    (64, 64),
    (500, 333),
    (333, 500),
    (641, 962),
]


def rounding_otherwise(repository: Path, target: Path, rounding: str) -> Path:
    """Copy a repository and let its DALI definitions round down or up."""
    shutil.copytree(repository, target)
    for path in target.glob("preprocess*/1/letterbox.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"rounding": rounding}))
    return target


def assert_rounded(client: Client, rounding: str) -> None:
    """White frames, alone and in a batch, fill exactly the place that exact fractions say."""
    differs = 0
    for size in SIZES:
        top, left, height, width = placed(*size, rounding=rounding)
        differs += (top, left, height, width) != placed(*size)
        wanted = np.full((640, 640), PAD, np.uint8)
        wanted[top : top + height, left : left + width] = 255
        answer = client.ask("preprocess_frames", frames=np.full((2, *size, 3), 255, np.uint8))
        assert answer["image_size"].tolist() == [list(size)] * 2
        np.testing.assert_array_equal(answer["images"], np.stack([np.stack([wanted] * 3)] * 2), str(size))
    assert differs > 2
