from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clients.commands import run
from triton_yolo.boards import CLASSES, draw_board
from triton_yolo.clients import Detector
from triton_yolo.clients.coco import Annotations, evaluate
from triton_yolo.clients.commands.evaluate import main

pytestmark = pytest.mark.computes


IDS = (70, 3, 1000, 12, 5, 41)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of boards and its annotations."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "boards" / "line").mkdir(parents=True)
    content: dict = {"images": [], "annotations": []}
    content["categories"] = [{"id": i, "name": name} for i, name in zip(IDS, CLASSES, strict=True)]
    for seed in range(4):
        board = draw_board(seed)
        cv2.imwrite(str(folder / "boards" / "line" / f"{seed}.png"), board.image)
        content["images"].append({"id": seed, "file_name": f"line/{seed}.png"})
        for (x1, y1, x2, y2), kind in zip(board.boxes.tolist(), board.classes, strict=True):
            box = {"image_id": seed, "category_id": IDS[kind], "bbox": [x1, y1, x2 - x1, y2 - y1]}
            content["annotations"].append(box)
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder / "boards", folder / "boxes.json"


def test_the_figures_are_those_of_the_detections(url: str, detector: Detector, labelled: tuple, tmp_path: Path) -> None:
    images, boxes = labelled
    kept = tmp_path / "figures.json"

    done = run(main, "--images", images, "--annotations", boxes, "--url", url, "--json", kept)

    assert done.exit_code == 0, done.stderr
    figures = json.loads(kept.read_text())
    annotations = Annotations.from_dict(json.loads(boxes.read_text()))
    found = {
        number: detector.detect(images / name, score_threshold=0.001, iou_threshold=0.6)
        for number, name in annotations.images.items()
    }
    expected = evaluate(annotations, found)
    assert figures["map50_95"] == round(expected.overall.ap50_95, 4)
    assert figures["map50"] == round(expected.overall.ap50, 4)
    assert list(figures["per_class"]) == list(expected.per_class)
    for name, precision in expected.per_class.items():
        np.testing.assert_allclose(figures["per_class"][name]["ap50"], precision.ap50, atol=5e-5)
        np.testing.assert_allclose(figures["per_class"][name]["ap50_95"], precision.ap50_95, atol=5e-5)
        assert name in done.stdout
    origin = figures["measured_on"]
    assert {key: origin[key] for key in ("images", "annotations", "number_of_images", "number_of_boxes")} == {
        "images": "boards",
        "annotations": "boxes.json",
        "number_of_images": 4,
        "number_of_boxes": len(annotations.boxes),
    }
    assert (origin["score_threshold"], origin["iou_threshold"], origin["model"]) == (0.001, 0.6, "detect")
    assert origin["server"].startswith("triton ")
    assert origin["model_version"] == "1"


@pytest.fixture
def changed(labelled: tuple[Path, Path], tmp_path: Path):
    """Writes the annotations with a change."""

    def write(change) -> Path:
        content = json.loads(labelled[1].read_text())
        change(content)
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(content))
        return path

    return write


def test_names_that_the_server_lacks_are_told_with_its_own(grpc_url: str, labelled: tuple, changed) -> None:
    def rename(content: dict) -> None:
        used = content["annotations"][0]["category_id"]
        next(row for row in content["categories"] if row["id"] == used)["name"] = "scratch"

    done = run(main, "--images", labelled[0], "--annotations", changed(rename), "--url", grpc_url)

    assert done.exit_code == 2
    assert "the server does not know scratch: it detects open, short, mousebite, spur, copper, pin-hole" in done.stderr


def test_classes_without_an_annotation_are_told(grpc_url: str, labelled: tuple, changed) -> None:
    def keep_one_class(content: dict) -> None:
        kind = content["annotations"][0]["category_id"]
        content["annotations"] = [row for row in content["annotations"] if row["category_id"] == kind]

    done = run(main, "--images", labelled[0], "--annotations", changed(keep_one_class), "--url", grpc_url)

    assert done.exit_code == 0
    assert done.stderr.startswith("The annotations have no ")


def test_a_missing_image_is_told_before_anything_is_sent(labelled: tuple, changed) -> None:
    path = changed(lambda content: content["images"][2].update(file_name="line/gone.png"))

    done = run(main, "--images", labelled[0], "--annotations", path, "--url", "127.0.0.1:1")

    assert done.exit_code == 2
    assert f"1 of 4 images are not there, the first is {labelled[0] / 'line' / 'gone.png'}" in done.stderr


def test_an_image_that_cannot_be_decoded_is_named(grpc_url: str, labelled: tuple, changed, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    path = changed(lambda content: content["images"][2].update(file_name=str(tmp_path / "text.png")))

    done = run(main, "--images", labelled[0], "--annotations", path, "--url", grpc_url)

    assert done.exit_code == 2
    assert f"{tmp_path / 'text.png'}: image is neither JPEG nor PNG" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "{images}"], "Missing option '--annotations'"),
        (["--images", "{images}", "--annotations", "{boxes}", "--score-threshold", "1.5"], "--score-threshold"),
        (["--images", "/nowhere", "--annotations", "{boxes}"], "does not exist"),
        (["--images", "{images}", "--annotations", "{image}"], "is no JSON file"),
        (["--images", "{images}", "--annotations", "{boxes}", "--url", "127.0.0.1:1"], "127.0.0.1:1 is not available"),
    ],
)
def test_what_cannot_begin_ends_with_2_and_says_why(arguments: list[str], message: str, labelled: tuple) -> None:
    images, boxes = labelled
    names = {"images": images, "boxes": boxes, "image": images / "line" / "0.png"}

    done = run(main, *(argument.format(**names) for argument in arguments))

    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
