"""The demo knows which defects its boards have."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.clients.commands import run
from tests.conftest import REPOSITORY
from triton_yolo.boards import CLASSES, Board
from triton_yolo.clients.detections import Detections
from triton_yolo.server.demo import defects_found, main

BOXES = np.array([[10, 10, 50, 50], [100, 100, 140, 140], [102, 100, 142, 140]], np.float32)
BOARD = Board(np.zeros((200, 200, 3), np.uint8), BOXES, np.array([0, 1, 1]))


def detections(*rows: tuple[int, int]) -> Detections:
    """Detections at boxes of the board, as (number of the box, class)."""
    boxes = np.array([BOXES[box] for box, _ in rows], np.float32).reshape(-1, 4)
    classes = np.array([kind for _, kind in rows], np.int32)
    return Detections(boxes, np.full(len(rows), 0.9, np.float32), classes, tuple(CLASSES[kind] for kind in classes))


@pytest.mark.parametrize(
    ("found", "hits"),
    [
        (detections(), 0),
        (detections((0, 0)), 1),
        (detections((0, 1)), 0),  # the right place, another class
        (detections((1, 1), (1, 1)), 2),  # two defects side by side, both seen
        (detections((0, 0), (0, 0)), 1),  # one seen twice
        (detections((2, 1), (0, 0), (1, 1)), 3),
    ],
)
def test_a_defect_counts_where_it_is_and_once(found: Detections, hits: int) -> None:
    assert defects_found(BOARD, found) == hits


@pytest.mark.computes
def test_the_default_repository_finds_nearly_all(tmp_path: Path) -> None:
    result = run(main, "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    share = re.search(r"(\d+) of (\d+) drawn defects were found where they are: (\d+)%", result.stdout)
    assert share
    assert int(share[3]) >= 90
    assert re.search(r"^yolo: (int8|float32)\b.*; proved: \d+ detections", result.stdout, re.MULTILINE)


@pytest.mark.slow
def test_one_that_finds_too_little_ends_with_status_1(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY, tmp_path / "repository")
    config = tmp_path / "repository" / "nms" / "config.pbtxt"
    text = config.read_text().replace('{ string_value: "0.25" }', '{ string_value: "0.85" }')
    config.write_text(text)
    result = run(main, "--out", tmp_path, "--repository", tmp_path / "repository")
    assert result.exit_code == 1
    assert "fewer than 80% of the defects were found: do not use this server" in result.stderr
