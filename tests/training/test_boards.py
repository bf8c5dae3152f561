"""Synthetic boards: what their pictures, boxes, lines and files must be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from triton_yolo.boards import CLASSES, Board, Line, draw_board, write_dataset
from triton_yolo.boards.command import app
from triton_yolo.boards.defects import MARGIN, OVERLAP, Defect
from triton_yolo.boards.draw import Masks, add_defects, draw_masks
from triton_yolo.boards.layout import lay_out
from triton_yolo.boards.photo import render

LOOKS: tuple[Literal["binary", "photo"], ...] = ("binary", "photo")


@pytest.fixture(scope="module", params=LOOKS)
def drawn(request: pytest.FixtureRequest) -> list[Masks]:
    """Copper and defects of some boards of 640x640, where a unit is a pixel."""
    return [draw_masks(np.random.default_rng(s), 640, 640, 1.0, request.param, 12)[0] for s in range(10)]


def each_alone(drawn: list[Masks], kind: int) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_], Defect]]:
    """Returns clean copper, copper with one defect alone, and that defect, for all defects of a class."""
    found = []
    for masks in drawn:
        for defect in masks.defects:
            if defect.kind == kind:
                x1, y1, x2, y2 = defect.extent
                alone = masks.clean.copy()
                alone[y1:y2, x1:x2] = masks.defective[y1:y2, x1:x2]
                found.append((masks.clean > 127, alone > 127, defect))
    assert found, f"no {CLASSES[kind]} on any board"
    return found


def pieces(mask: NDArray[np.bool_], connectivity: int) -> int:
    """Counts connected pieces that are no specks."""
    stats = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)[2]
    return int((stats[1:, cv2.CC_STAT_AREA] >= (14 if connectivity == 8 else 4)).sum())


def change(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[int, int]:
    """Returns how many more pieces of copper and of laminate the whole board has."""
    return pieces(after, 8) - pieces(before, 8), pieces(~after, 4) - pieces(~before, 4)


def same(a: Board, b: Board) -> bool:
    """Tells whether two boards are equal byte for byte."""
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in ("image", "boxes", "classes"))


def test_the_classes_have_deeppcbs_order() -> None:
    assert CLASSES == ("open", "short", "mousebite", "spur", "copper", "pin-hole")


@pytest.mark.parametrize("look", LOOKS)
def test_the_same_seed_draws_the_same_bytes_and_another_seed_others(look: Literal["binary", "photo"]) -> None:
    first = draw_board(5, 320, 240, look)
    draw_board(6, 320, 240, look)  # nothing is left over from a board in between
    assert same(first, draw_board(5, 320, 240, look))
    assert not same(first, draw_board(6, 320, 240, look))


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("size", [(640, 640), (1280, 960), (64, 48), (1, 1), (33, 301), (639, 7)])
def test_any_size_gives_a_picture_of_that_size_with_boxes_inside(
    size: tuple[int, int], look: Literal["binary", "photo"]
) -> None:
    width, height = size
    board = draw_board(11, width, height, look)
    assert board.image.shape == (height, width, 3)
    assert board.image.dtype == np.uint8
    assert board.boxes.shape == (len(board.classes), 4)
    assert board.boxes.dtype == np.float32
    assert np.issubdtype(board.classes.dtype, np.integer)
    assert ((board.classes >= 0) & (board.classes < len(CLASSES))).all()
    assert (board.boxes[:, :2] >= 0).all()
    assert (board.boxes[:, 2:] <= (width, height)).all()
    assert (board.boxes[:, 2:] > board.boxes[:, :2]).all()


def test_a_board_too_small_to_show_defects_has_none() -> None:
    assert len(draw_board(2, 64, 48, defects=9).classes) == 0


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
def test_a_clean_board_has_no_boxes_and_a_damaged_one_has_the_number_asked_for(
    look: Literal["binary", "photo"],
) -> None:
    assert len(draw_board(3, look=look, defects=0).classes) == 0
    assert [len(draw_board(s, look=look, defects=5).classes) for s in range(4)] == [5] * 4


@pytest.mark.slow
def test_a_usual_board_has_three_to_twelve_defects() -> None:
    counts = [len(draw_board(s).classes) for s in range(12)]
    assert min(counts) >= 3
    assert max(counts) <= 12
    assert len(set(counts)) > 3


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"width": 0}, "0x640"), ({"look": "x-ray"}, "x-ray"), ({"defects": -1}, "-1")],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        draw_board(0, **arguments)


def test_nothing_changes_outside_the_defects(drawn: list[Masks]) -> None:
    for masks in drawn:
        changed = (masks.clean > 127) != (masks.defective > 127)
        for defect in masks.defects:
            x1, y1, x2, y2 = defect.extent
            changed[y1:y2, x1:x2] = False
        assert not changed.any()


@pytest.mark.parametrize("kind", range(len(CLASSES)), ids=CLASSES)
def test_a_box_is_the_change_with_a_margin(drawn: list[Masks], kind: int) -> None:
    for clean, broken, defect in each_alone(drawn, kind):
        rows, columns = np.nonzero(clean != broken)
        x1, y1, x2, y2 = defect.box(640, 640, 1.0)
        slack = np.array([columns.min() - x1, rows.min() - y1, x2 - columns.max(), y2 - rows.max()])
        at_edge = np.array([x1 == 0, y1 == 0, x2 == 640, y2 == 640])
        assert (slack[~at_edge] >= MARGIN).all()
        assert (slack <= MARGIN + OVERLAP).all()
        if kind in (4, 5) and not at_edge.any():  # nothing of such a stroke runs over its own kind
            assert (slack <= MARGIN + 1).all()


def test_boxes_overlap_little(drawn: list[Masks]) -> None:
    for masks in drawn:
        boxes = [d.box(640, 640, 1.0) for d in masks.defects]
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                smaller = min((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
                assert max(w, 0) * max(h, 0) <= 0.3 * smaller


def test_an_open_parts_its_copper(drawn: list[Masks]) -> None:
    for clean, broken, defect in each_alone(drawn, 0):
        assert not (broken & ~clean).any()
        copper, laminate = change(clean, broken)
        # a loop stays in one piece, but no longer encloses its middle
        assert copper == 1 or laminate == -1, defect


def test_a_short_joins_two_nets(drawn: list[Masks]) -> None:
    for clean, broken, defect in each_alone(drawn, 1):
        assert not (clean & ~broken).any()
        assert change(clean, broken)[0] == -1, defect


def test_a_mousebite_takes_copper_from_an_edge_and_breaks_nothing(drawn: list[Masks]) -> None:
    for clean, broken, defect in each_alone(drawn, 2):
        assert not (broken & ~clean).any()
        assert change(clean, broken) == (0, 0), defect


def test_a_spur_adds_copper_to_one_net(drawn: list[Masks]) -> None:
    for clean, broken, defect in each_alone(drawn, 3):
        assert not (clean & ~broken).any()
        assert change(clean, broken) == (0, 0), defect


def test_extra_copper_lies_alone(drawn: list[Masks]) -> None:
    for clean, broken, defect in each_alone(drawn, 4):
        assert not (clean & ~broken).any()
        assert change(clean, broken)[0] == 1, defect


def test_a_pin_hole_is_enclosed_by_copper(drawn: list[Masks]) -> None:
    for clean, broken, defect in each_alone(drawn, 5):
        assert not (broken & ~clean).any()
        copper, laminate = change(clean, broken)
        assert copper == 0, defect
        assert laminate >= 1, defect


@pytest.mark.slow
def test_shapes_and_boxes_grow_with_the_longer_side() -> None:
    boxes = [np.concatenate([draw_board(s, *size).boxes for s in range(6)]) for size in ((640, 480), (1280, 960))]
    small, large = (np.median(b[:, 2:] - b[:, :2]) for b in boxes)
    assert 1.7 < large / small < 2.3


def test_a_binary_board_is_black_and_white_and_a_photo_shows_its_copper_apart_from_the_mask() -> None:
    assert set(np.unique(draw_board(1).image)) == {0, 255}
    rng = np.random.default_rng(1)
    masks, image = draw_masks(rng, 640, 640, 1.0, "photo", 0)
    grey = image.mean(2)
    assert grey[masks.clean == 255].mean() > 1.4 * grey[masks.clean == 0].mean()


@pytest.mark.slow
def test_every_defect_stands_out_in_a_photo() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        canvas = lay_out(rng, 640, 640, 1.0, photographed=True)
        masks = add_defects(rng, canvas, "photo", 8)
        clean, broken = (render(np.random.default_rng(9), canvas, m).mean(2) for m in (masks.clean, masks.defective))
        for defect in masks.defects:
            x1, y1, x2, y2 = defect.extent
            assert np.percentile(np.abs(clean - broken)[y1:y2, x1:x2], 90) > 12, (seed, defect)


def test_a_line_stops_with_the_same_pixels_but_for_noise_and_moves_between() -> None:
    line = Line(4, 320, 240, boards=2, still_frames=4, moving_frames=3, noise=2.0)
    frames = [next(line) for _ in range(15)]
    assert [f.still for f in frames] == [True] * 4 + [False] * 3 + [True] * 4 + [False] * 3 + [True]
    assert [f.board for f in frames] == [0] * 4 + [1] * 7 + [2] * 4
    assert [f.index for f in frames] == list(range(15))
    pictures = [f.image.astype(int) for f in frames]
    still = np.abs(pictures[0] - pictures[3])
    assert 0 < still.mean() < 4
    assert still.max() < 30
    assert all(np.abs(pictures[k] - pictures[k + 1]).mean() > still.mean() + 2 for k in (3, 4, 5, 6))
    # the second board again after the first: the row of boards is endless
    assert np.abs(pictures[0] - pictures[14]).mean() < 4
    np.testing.assert_array_equal(frames[0].boxes, frames[14].boxes)


def test_a_line_moves_its_boxes_with_the_boards() -> None:
    line = Line(8, 640, 480, boards=2, still_frames=1, moving_frames=9, noise=0.0, defects=6)
    first, *rest = [next(line) for _ in range(10)]
    assert len(first.boxes) >= 4
    for frame in rest:
        moved = line.position(frame.index)[0]
        for box, kind in zip(first.boxes, first.classes, strict=True):
            if box[0] - moved >= 0:
                near = np.abs(frame.boxes - (box - [moved, 0, moved, 0])).max(1) < 1e-3
                assert kind in frame.classes[near]
        assert (frame.boxes >= 0).all()
        assert (frame.boxes <= [640, 480, 640, 480]).all()


def test_a_line_has_as_many_defects_on_each_board_as_are_asked_for_over_and_over() -> None:
    line = Line(8, 640, 480, boards=5, still_frames=1, moving_frames=0, defects=[0, 3])
    assert [len(next(line).boxes) for _ in range(6)] == [0, 3, 0, 3, 0, 0]


def test_a_line_is_the_same_for_the_same_seed() -> None:
    pairs = zip(*(Line(9, 160, 120, boards=1) for _ in range(2)), strict=True)
    for _, (a, b) in zip(range(3), pairs, strict=False):
        np.testing.assert_array_equal(a.image, b.image)


def test_a_line_refuses_to_stand_for_no_frame() -> None:
    with pytest.raises(ValueError, match="still frames of 1 or more"):
        Line(0, 64, 48, still_frames=0)


def test_a_set_is_complete_coco(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "set", 4, 7, [(320, 240), (160, 160)], ["binary", "photo"])
    coco = json.loads(path.read_text())
    assert [c["name"] for c in coco["categories"]] == list(CLASSES)
    assert [c["id"] for c in coco["categories"]] == [1, 2, 3, 4, 5, 6]
    assert [(i["width"], i["height"]) for i in coco["images"]] == [(320, 240), (160, 160)] * 2
    colourful = []
    for entry in coco["images"]:
        image = cv2.imread(str(path.parent / "images" / entry["file_name"]))
        assert image is not None
        assert image.shape == (entry["height"], entry["width"], 3)
        colourful.append(bool((image.max(2).astype(int) - image.min(2)).max() > 20))
    assert colourful == [False, False, True, True]
    assert [a["id"] for a in coco["annotations"]] == list(range(1, len(coco["annotations"]) + 1))
    sizes = {i["id"]: (i["width"], i["height"]) for i in coco["images"]}
    for annotation in coco["annotations"]:
        x, y, w, h = annotation["bbox"]
        assert min(x, y) >= 0
        assert min(w, h) > 0
        assert x + w <= sizes[annotation["image_id"]][0] + 0.01
        assert y + h <= sizes[annotation["image_id"]][1] + 0.01
        assert annotation["area"] == pytest.approx(w * h, rel=0.01)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_a_set_has_the_same_bytes_whatever_drew_it(tmp_path: Path) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        write_dataset(tmp_path / name, 3, 1, [(160, 120)], workers=workers)
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file())
    assert len(files) == 4
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_set_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", 2, sizes=[(64, 64)], progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_full_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        write_dataset(tmp_path, 1)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_the_command_line_writes_a_set(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["--out", str(tmp_path / "set"), "--count", "2", "--size", "64x96", "--look", "both"]
    )
    assert result.exit_code == 0, result.output
    pictures = list((tmp_path / "set" / "images").glob("*.jpg"))
    assert [cv2.imread(str(file)).shape[:2] for file in pictures] == [(64, 96)] * 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--count", "0"], "count"),
        (["--count", "1", "--size", "wide"], "HxW"),
        (["--count", "1", "--size", "0x10"], "HxW"),
        (["--count", "1", "--look", "x-ray"], "look"),
        (["--count", "1"], "not an empty folder"),
    ],
)
def test_a_users_mistake_ends_with_status_2_and_says_what_is_wrong(
    tmp_path: Path, arguments: list[str], named: str
) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    result = CliRunner().invoke(app, ["--out", str(tmp_path), *arguments], env={"COLUMNS": "300"})
    assert result.exit_code == 2
    assert named in result.output + result.stderr
    assert "Traceback" not in result.output + result.stderr
