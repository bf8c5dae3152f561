from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clients.comparing import make
from triton_yolo.clients import Detections
from triton_yolo.clients.coco import AnnotationError, Annotations, evaluate, read_annotations, unknown_names

LABELS = ("open", "short", "spur")
IDS = {"spur": 7, "open": 1000, "short": 42}  # neither 1 to N, nor in the labels' order
ROWS = [  # image, class, x1, y1, x2, y2
    (3, "open", [10, 10, 50, 40]),
    (3, "short", [60, 60, 90, 100]),
    (0, "spur", [5, 5, 200, 30]),
    (12, "open", [1, 2, 41, 42]),
    (12, "open", [100, 100, 140, 140]),
]


def coco(rows: list[tuple[int, str, list[float]]], **extra: Any) -> dict[str, Any]:
    """A COCO file with images 0, 3, 12 and 99, of which 99 has no boxes."""
    return {
        "images": [{"id": i, "file_name": f"line/{i}.png"} for i in (12, 0, 99, 3)],
        "categories": [{"id": number, "name": name} for name, number in IDS.items()],
        "annotations": [
            {"id": i, "image_id": image, "category_id": IDS[name], "bbox": [x1, y1, x2 - x1, y2 - y1], **extra}
            for i, (image, name, (x1, y1, x2, y2)) in enumerate(rows)
        ],
    }


def perfect(rows: list[tuple[int, str, list[float]]]) -> dict[int, Detections]:
    return {image: make(*((name, 0.9, box) for at, name, box in rows if at == image)) for image in (0, 3, 12, 99)}


@pytest.mark.parametrize("seed", range(3))
def test_perfect_detections_give_one_whatever_the_ids_and_the_order(seed: int) -> None:
    rows = [ROWS[i] for i in np.random.default_rng(seed).permutation(len(ROWS))]

    result = evaluate(Annotations.from_dict(coco(rows)), perfect(ROWS))

    assert result.overall.ap50_95 == pytest.approx(1)
    assert result.overall.ap50 == pytest.approx(1)
    assert set(result.per_class) == {"open", "short", "spur"}
    assert all(precision.ap50_95 == pytest.approx(1) for precision in result.per_class.values())


def test_nothing_found_gives_zero() -> None:
    result = evaluate(Annotations.from_dict(coco(ROWS)), {})

    assert (result.overall.ap50_95, result.overall.ap50) == (0, 0)


def test_a_class_that_is_taken_for_another_costs_its_own_precision() -> None:
    found = perfect(ROWS) | {0: make(("short", 0.9, [5, 5, 200, 30]))}

    result = evaluate(Annotations.from_dict(coco(ROWS)), found)

    assert result.per_class["spur"].ap50 == 0
    assert result.per_class["open"].ap50 == pytest.approx(1)
    # A false positive with the score of the true one: pycocotools ranks image 0 before image 3.
    assert result.per_class["short"].ap50 == pytest.approx(0.5)
    assert result.overall.ap50 == pytest.approx((0 + 1 + 0.5) / 3)


def test_a_box_that_overlaps_by_0_72_counts_for_half_of_the_thresholds() -> None:
    rows = [(3, "open", [0, 0, 100, 100])]

    result = evaluate(Annotations.from_dict(coco(rows)), {3: make(("open", 0.9, [0, 0, 72, 100]))})

    assert result.overall.ap50 == pytest.approx(1)
    assert result.overall.ap50_95 == pytest.approx(0.5)  # 0.50, 0.55, 0.60, 0.65, 0.70 of ten


def test_a_better_scored_false_box_on_an_image_without_boxes_counts() -> None:
    found = perfect(ROWS) | {99: make(("spur", 0.95, [0, 0, 9, 9]))}

    assert evaluate(Annotations.from_dict(coco(ROWS)), found).per_class["spur"].ap50 == pytest.approx(0.5)


def test_a_crowd_is_neither_to_be_found_nor_a_mistake() -> None:
    content = coco([*ROWS, (0, "short", [0, 100, 300, 300])])
    content["annotations"][-1]["iscrowd"] = 1
    found = perfect(ROWS) | {0: make(("spur", 0.9, [5, 5, 200, 30]), ("short", 0.95, [10, 110, 40, 150]))}

    assert evaluate(Annotations.from_dict(content), found).overall.ap50 == pytest.approx(1)


def test_a_class_of_crowds_alone_has_no_precision_and_no_weight() -> None:
    content = coco(ROWS)
    for row in content["annotations"]:
        row["iscrowd"] = int(row["category_id"] == IDS["open"])

    result = evaluate(Annotations.from_dict(content), perfect(ROWS))

    assert math.isnan(result.per_class["open"].ap50)
    assert result.overall.ap50 == pytest.approx(1)


def test_an_area_is_optional_and_categories_without_boxes_are_left_out() -> None:
    content = coco(ROWS, area=1.5)
    content["categories"].append({"id": 0, "name": "boards"})
    annotations = Annotations.from_dict(content)

    assert [row["area"] for row in annotations.boxes] == [1.5] * len(ROWS)
    assert [row["area"] for row in Annotations.from_dict(coco(ROWS)).boxes][:2] == [40 * 30, 30 * 40]
    assert "boards" not in annotations.categories.values()
    assert unknown_names(annotations, LABELS) == []
    assert unknown_names(annotations, ("open", "pin-hole")) == ["spur", "short"]


def _without(key: str) -> dict[str, Any]:
    return {name: value for name, value in coco(ROWS).items() if name != key}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_without("images"), "no COCO annotations: KeyError 'images'"),
        (_without("categories"), "no COCO annotations: KeyError 'categories'"),
        ([1, 2], "no COCO annotations"),
        (coco(ROWS, bbox=[1, 2, 3]), "no COCO annotations"),
        (coco(ROWS, bbox="wide"), "no COCO annotations"),
        (coco(ROWS, image_id=77), "annotation number 1 has image_id 77, which is not listed"),
        (coco(ROWS, category_id=77), "annotation number 1 has category_id 77, which is not listed"),
        (coco([]), "it has no boxes except crowds"),
        (coco(ROWS, iscrowd=1), "it has no boxes except crowds"),
        (
            coco(ROWS) | {"categories": [{"id": i, "name": "same"} for i in IDS.values()]},
            "two categories have the name",
        ),
    ],
)
def test_annotations_that_do_not_do_are_refused_with_their_file(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))

    with pytest.raises(AnnotationError, match=rf"boxes\.json: {message}"):
        read_annotations(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0"])
def test_a_file_that_is_not_json_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_bytes(content)

    with pytest.raises(AnnotationError, match=r"boxes\.json is no JSON file"):
        read_annotations(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"cannot read .*boxes\.json: No such file"):
        read_annotations(tmp_path / "boxes.json")
