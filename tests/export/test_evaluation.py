"""What is served is as good as the family's own evaluation of the same trained network says."""

from __future__ import annotations

import ast
import importlib.util
import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest

from tests.clients.commands import run
from tests.conftest import ROOT
from tests.export import own_evaluation
from tests.support.servers import serving
from triton_yolo.boards import CLASSES, draw_board
from triton_yolo.clients.commands.evaluate import main as evaluate
from triton_yolo.export.command import main as export

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
            partial(own_evaluation.ultralytics, corners=True, predicted=True),
            0.7,
            ["--classes", "all", "--rounding", "nearest", "--max-detections", "300"],
        ),
    ],
    ids=["YOLOX", "YOLOv9 as Ultralytics evaluates, with sizes and boxes as it predicts"],
)
def test_evaluate_says_what_the_familys_own_evaluation_says(
    network: str, detect: Callable, iou: float, options: list[str], boards: Path, tmp_path: Path
) -> None:
    served = served_average_precision(MODELS / network, boards, iou, options, tmp_path)
    own = own_evaluation.average_precision(MODELS / network, boards, boards / "annotations.json", detect, list(CLASSES))
    assert own > 0.3
    assert served == pytest.approx(own, abs=0.001)


def served_average_precision(network: Path, images: Path, iou: float, options: list[str], folder: Path) -> float:
    """What `evaluate` says of an export, of a folder of images with their annotations.json."""
    target = folder / "repository"
    result = run(export, network, "--repository", target, *options)
    assert result.exit_code == 0, result.stderr
    with serving(target) as server:
        where = ("--url", f"127.0.0.1:{server.addresses.grpc}", "--iou-threshold", str(iou))
        files = ("--images", images, "--annotations", images / "annotations.json", "--json", folder / "map.json")
        assert run(evaluate, *where, *files).exit_code == 0
    return float(json.loads((folder / "map.json").read_text())["map50_95"])


# A trained YOLOv8 that nudenet carries, on crops of a photo that insightface carries; neither package is imported


SIDE, OTHER_SIDE = 320, 416  # of its input where it is evaluated, and where labels come from
CROPS = 400  # OpenCV's and DALI's pixels differ by one grey level here and there: of fewer, that shows
FEWEST = CROPS // 4  # labels of a class that is counted


def file_of(package: str, name: str) -> Path:
    """A file that an installed package carries."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package}, which carries {name}, is not installed")
    [path] = Path(found.submodule_search_locations[0]).rglob(name)
    return path


@pytest.fixture(scope="module")
def detector() -> Path:
    return file_of("nudenet", "320n.onnx")


@pytest.fixture(scope="module")
def names(detector: Path) -> list[str]:
    [said] = [entry.value for entry in onnx.load(detector).metadata_props if entry.key == "names"]
    return list(ast.literal_eval(said).values())


def crop(photo: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A part of a photo, in half of the cases mirrored, of 351 to 799 pixels on its longer side."""
    height, width = (int(length * rng.uniform(0.4, 0.8)) for length in photo.shape[:2])
    y, x = (int(rng.integers(whole - part + 1)) for whole, part in zip(photo.shape, (height, width), strict=False))
    longer = int(rng.integers(175, 400)) * 2 + 1
    shorter = min(height, width) * longer // max(height, width)
    size = (longer, shorter) if width >= height else (shorter, longer)
    part = photo[y : y + height, x : x + width]
    return np.asarray(cv2.resize(part[:, :: int(rng.choice([-1, 1]))], size, interpolation=cv2.INTER_AREA), np.uint8)


@pytest.fixture(scope="module")
def crops(detector: Path, names: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops with boxes in COCO's format.

    Boxes are what the network itself is sure of at another size, moved a little. Some of them are left out, and some
    are added where nothing is.
    """
    folder, rng = tmp_path_factory.mktemp("crops"), np.random.default_rng(0)
    photo = np.asarray(cv2.imread(str(file_of("insightface", "t1.jpg"))), np.uint8)
    session = ort.InferenceSession(detector, providers=["CPUExecutionProvider"])
    images, boxes = [], []
    for number in range(CROPS):
        picture = crop(photo, rng)
        height, width = picture.shape[:2]
        name = f"{number}.png"
        cv2.imwrite(str(folder / name), picture)
        images.append({"id": number + 1, "file_name": name, "width": width, "height": height})
        labels = []
        for x1, y1, x2, y2, score, kind in own_evaluation.ultralytics(session, picture, side=OTHER_SIDE):
            if score > 0.6 and rng.random() > 0.1:
                moved = np.array([x1, y1, x2, y2]) + rng.normal(0, 0.06, 4) * ([x2 - x1, y2 - y1] * 2)
                labels.append((*moved.tolist(), kind))
        if labels and number % 6 == 0:
            labels.append((1, 1, width / 4, height / 5, labels[0][-1]))
        for x1, y1, x2, y2, kind in labels:
            about = {"area": (x2 - x1) * (y2 - y1), "iscrowd": 0, "category_id": kind + 1, "image_id": number + 1}
            boxes.append({"id": len(boxes) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], **about})
    counts = Counter(box["category_id"] for box in boxes)
    counted = [number for number in counts if counts[number] >= FEWEST]
    assert len(counted) > 1
    content = {
        "images": images,
        "annotations": [box for box in boxes if box["category_id"] in counted],
        "categories": [{"id": number, "name": names[number - 1]} for number in counted],
    }
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


@pytest.mark.long
def test_evaluate_says_of_a_trained_yolov8_what_ultralytics_says(
    detector: Path, names: list[str], crops: Path, tmp_path: Path
) -> None:
    options = ["--size", str(SIDE), "--classes", "all", "--rounding", "up", "--max-detections", "300"]
    served = served_average_precision(detector, crops, 0.7, options, tmp_path)
    detect = partial(own_evaluation.ultralytics, side=SIDE)
    own = own_evaluation.average_precision(detector, crops, crops / "annotations.json", detect, names)
    assert 0.3 < own < 0.9
    assert served == pytest.approx(own, abs=0.001)
