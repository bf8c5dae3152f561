"""What is served is as good as the family's own evaluation of the same trained network says."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import pytest

from tests.clients.commands import run
from tests.conftest import ROOT
from tests.export import own_evaluation
from triton_yolo.boards import CLASSES, draw_board
from triton_yolo.clients.commands.evaluate import main as evaluate
from triton_yolo.export.command import main as export
from triton_yolo.server.process import TritonServer, free_addresses

pytestmark = [pytest.mark.computes, pytest.mark.slow]

MODELS = ROOT / "models"
SIZES = [(1001, 751), (640, 640), (1280, 961), (777, 999), (1280, 960), (500, 333)]  # width, height; many are rounded
BOARDS = 36


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn boards as PNGs, which every decoder reads alike, with their boxes in COCO's format."""
    folder = tmp_path_factory.mktemp("boards")
    images, boxes = [], []
    for number in range(BOARDS):
        board = draw_board(9_500_000 + number, *SIZES[number % len(SIZES)], "photo" if number % 2 else "binary")
        name = f"{number}.png"
        cv2.imwrite(str(folder / name), cv2.cvtColor(board.image, cv2.COLOR_RGB2BGR))
        height, width = board.image.shape[:2]
        images.append({"id": number + 1, "file_name": name, "width": width, "height": height})
        for (x1, y1, x2, y2), kind in zip(board.boxes.tolist(), board.classes.tolist(), strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            about = {"area": box[2] * box[3], "iscrowd": 0, "category_id": kind + 1, "image_id": number + 1}
            boxes.append({"id": len(boxes) + 1, "bbox": box, **about})
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("network", "detect", "iou", "options"),
    [
        ("pcb-yolox-nano.onnx", own_evaluation.yolox, 0.65, []),
        (
            "pcb-yolov9t-elan.onnx",
            partial(own_evaluation.ultralytics, corners=True),
            0.7,
            ["--classes", "all", "--rounding", "nearest", "--max-detections", "300"],
        ),
    ],
    ids=["YOLOX", "YOLOv9 as Ultralytics evaluates"],
)
def test_evaluate_says_what_the_familys_own_evaluation_says(
    network: str, detect: Callable, iou: float, options: list[str], boards: Path, tmp_path: Path
) -> None:
    target = tmp_path / "repository"
    result = run(export, MODELS / network, "--repository", target, *options)
    assert result.exit_code == 0, result.stderr
    with TritonServer(target, free_addresses(), lambda line: None) as server:
        server.wait_until_ready()
        where = ("--url", f"127.0.0.1:{server.addresses.grpc}", "--iou-threshold", str(iou))
        files = ("--images", boards, "--annotations", boards / "annotations.json", "--json", tmp_path / "map.json")
        assert run(evaluate, *where, *files).exit_code == 0
    served = json.loads((tmp_path / "map.json").read_text())["map50_95"]
    own = own_evaluation.average_precision(MODELS / network, boards, boards / "annotations.json", detect, list(CLASSES))
    assert own > 0.3
    assert served == pytest.approx(own, abs=0.001)
