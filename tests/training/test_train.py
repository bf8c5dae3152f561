"""The training, as far as a CPU can check it, and the model file that came of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from training.pictures import PAD, SIDE, draw_boards, letterbox, read_deeppcb
from training.split import draw_split_board
from triton_yolo.boards import CLASSES

pytestmark = pytest.mark.filterwarnings("default")  # PyTorch and LibreYOLO warn of their own use of each other

MODEL = Path(__file__).resolve().parents[2] / "models" / "pcb-yolov9t-elan.onnx"
LOG = MODEL.with_suffix(".json")


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=MODEL.parents[1])


@pytest.mark.parametrize("package", ["torch", "libreyolo"])
def test_training_without_its_packages_ends_with_one_line_that_names_what_to_install(package: str) -> None:
    done = run(
        f"import runpy, sys; sys.modules[{package!r}] = None; sys.argv[1:] = ['--deeppcb', 'x'];"
        "runpy.run_module('training.train', run_name='__main__')"
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "pip install" in done.stderr
    assert package in done.stderr


def test_boards_and_the_help_of_training_need_no_pytorch() -> None:
    for code in (
        "import triton_yolo.boards, training.pictures, training.split",
        "from training.train import app; app(['--help'])",
    ):
        done = run(f"import sys; sys.modules['torch'] = None; {code}")
        assert done.returncode == 0, done.stderr


def test_training_without_a_gpu_says_so_in_one_line() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("libreyolo", reason="LibreYOLO is not installed")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = subprocess.run(
        [sys.executable, "-m", "training.train", "--deeppcb", "x"], capture_output=True, text=True, cwd=MODEL.parents[1]
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: training needs a CUDA GPU, and PyTorch finds none"]


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(("width", "height"), [(1280, 960), (480, 640), (640, 640), (333, 777)])
def test_the_letterbox_takes_boxes_along(width: int, height: int, centred: bool) -> None:
    x1, y1, x2, y2 = width // 5, height // 4, width // 2, height // 3 * 2
    image = np.zeros((height, width, 3), np.uint8)
    image[y1:y2, x1:x2] = 255
    fitted, boxes = letterbox(image, np.array([[x1, y1, x2, y2]], np.float32), centred)
    assert fitted.shape == (3, SIDE, SIDE)
    rows, columns = np.nonzero(fitted[0] > 180)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(boxes[0], seen, atol=1.0)
    assert (fitted == PAD).any() == (width != height)
    assert (fitted[:, 0, 0] == (PAD if centred and width != height else 0)).all()


def write_scans(folder: Path, **changes: Any) -> Path:
    """A DeepPCB of one scan, with one defect; `changes` replace parts of its annotations."""
    (folder / "images").mkdir(parents=True)
    cv2.imwrite(str(folder / "images" / "a.png"), np.full((SIDE, SIDE, 3), 255, np.uint8))
    coco = {
        "images": [{"id": 7, "file_name": "a.png", "width": SIDE, "height": SIDE}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 20, 30, 40]}],
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(CLASSES)],
    }
    (folder / "train.json").write_text(json.dumps(coco | changes))
    return folder


def test_scans_are_read_with_their_boxes_as_corners_and_classes_from_zero(tmp_path: Path) -> None:
    (picture,) = read_deeppcb(write_scans(tmp_path / "pcb"), "train")
    assert picture.boxes.tolist() == [[10, 20, 40, 60]]
    assert picture.classes.tolist() == [2]
    assert (picture.image == 255).all()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"categories": [{"id": 1, "name": "cat"}]}, ValueError, "its classes are"),
        ({"annotations": [{"id": 1}]}, ValueError, "not annotations in COCO's format"),
        ({"images": [{"id": 7, "file_name": "b.png"}]}, OSError, "b.png: missing, or not a picture"),
    ],
)
def test_scans_that_cannot_be_used_are_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_deeppcb(write_scans(tmp_path / "pcb", **changes), "train")


@pytest.mark.parametrize("seed", range(4))
def test_split_boards_are_binary_and_repeat_with_their_seed(seed: int) -> None:
    board, again, other = draw_split_board(seed), draw_split_board(seed), draw_split_board(seed + 100)
    assert (board.image == again.image).all()
    assert (board.boxes == again.boxes).all()
    assert (board.image != other.image).any()
    assert set(np.unique(board.image)) == {0, 255}
    assert 1 <= len(board.classes) <= 12
    assert ((board.boxes[:, 2:] - board.boxes[:, :2]) > 10).all()
    assert (board.boxes >= 0).all()
    assert (board.boxes <= SIDE).all()


# Augmentation: on the CPU, with PyTorch


def rectangle_tiles(boxes: list[tuple[int, int, int, int]]) -> NDArray[np.uint8]:
    """Four black pictures, each with one bright rectangle of its own colour [1, 4, 3, SIDE, SIDE]."""
    tiles = np.zeros((1, 4, 3, SIDE, SIDE), np.uint8)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
    for k, ((x1, y1, x2, y2), colour) in enumerate(zip(boxes, colours, strict=True)):
        tiles[0, k, :, y1:y2, x1:x2] = np.array(colour)[:, None, None]
    return tiles


BOXES = [(300, 250, 390, 270), (200, 310, 220, 350), (280, 280, 330, 420), (150, 180, 300, 240)]


@pytest.mark.parametrize("symmetry", range(8))
@pytest.mark.parametrize(
    ("mosaic", "scale", "centre"),
    [
        (False, (1.0, 1.0), (320, 320)),
        (False, (1.3, 0.8), (300, 350)),
        (True, (0.5, 0.5), (640, 640)),
        (True, (0.6, 0.58), (620, 660)),
    ],
    ids=["exact", "stretched and moved", "whole mosaic", "part of a mosaic"],
)
def test_boxes_stay_around_what_they_mark(
    symmetry: int, mosaic: bool, scale: tuple[float, float], centre: tuple[float, float]
) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from training.augment import Plan, place_boxes, place_images

    plan = Plan(
        torch.tensor([mosaic]),
        torch.tensor([[(symmetry + 3 * k) % 8 for k in range(4)]]),
        torch.tensor([scale]),
        torch.tensor([centre], dtype=torch.float32),
        torch.zeros(1, 4, dtype=torch.bool),
    )
    images, inside = place_images(torch.from_numpy(rectangle_tiles(BOXES)), plan)
    boxes, classes = place_boxes(
        torch.tensor(BOXES, dtype=torch.float32)[None, :, None], torch.arange(4)[None, :, None], plan
    )
    red, green, blue = (images[0] > 127).numpy()
    masks = [red & ~green, green & ~red, blue, red & green]
    visible = [k for k in range(4) if masks[k][inside[0, 0].numpy()].any()]
    assert visible == ([0, 1, 2, 3] if mosaic else [0])
    assert [k for k in range(4) if classes[0, k] == k] == visible
    for k in visible:
        rows, columns = np.nonzero(masks[k])
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(boxes[0, k].numpy(), seen, atol=1.0)


def test_a_defect_that_is_mostly_cut_off_is_not_labelled() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from training.augment import SYMMETRIES, VISIBLE, Plan, place_boxes

    upright = int((torch.eye(2) == SYMMETRIES).all(-1).all(-1).nonzero())
    plan = Plan(
        torch.tensor([False]),
        torch.full((1, 4), upright),
        torch.ones(1, 2),
        torch.tensor([[420.0, 320.0]]),  # the left 100 pixels are out of sight
        torch.zeros(1, 4, dtype=torch.bool),
    )
    shares = (VISIBLE - 0.05, VISIBLE + 0.05)
    boxes = torch.zeros(1, 4, 2, 4)
    for k, share in enumerate(shares):
        boxes[0, 0, k] = torch.tensor([100 - 100 * (1 - share), 50.0, 100 + 100 * share, 90.0])
    cut, classes = place_boxes(boxes, torch.tensor([1, 2] + [-1] * 6).reshape(1, 4, 2), plan)
    assert classes[0, :2].tolist() == [-1, 2]
    assert cut[0, 1].tolist() == pytest.approx([0, 50, 100 * shares[1], 90])


def test_a_negative_swaps_copper_and_board_and_the_classes_with_them() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from training.augment import NEGATIVE, Pool, Recipe, make_batch
    from training.pictures import Picture

    assert [NEGATIVE[NEGATIVE[k]] for k in range(6)] == list(range(6))
    assert {(CLASSES[k], CLASSES[NEGATIVE[k]]) for k in (0, 2, 4)} == {
        ("open", "short"),
        ("mousebite", "spur"),
        ("copper", "pin-hole"),
    }
    board = draw_split_board(1)
    picture = Picture(np.ascontiguousarray(board.image.transpose(2, 0, 1)), board.boxes, board.classes)
    pool = Pool.of([picture], [True], "cpu")
    recipe = Recipe(mosaic=0.0, exact=1.0, negative=1.0, colour=0.0)
    images, labels = make_batch(pool, torch.zeros(1, 4, dtype=torch.long), recipe, torch.Generator().manual_seed(0))
    assert images[0].mean().item() == pytest.approx(1 - picture.image.mean() / 255, abs=1e-4)
    assert sorted(labels[0, :, 0].int().tolist()) == sorted(NEGATIVE[k] for k in board.classes.tolist())


def test_a_single_picture_has_the_letterbox_grey_around_it_and_nothing_of_others() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from training.augment import Pool, Recipe, make_batch
    from training.pictures import Picture

    white = Picture(np.full((3, SIDE, SIDE), 255, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    recipe = Recipe(mosaic=0.0, single_scale=(0.5, 0.5), aspect=1.0, shift=0.0, exact=0.0, negative=0.0, colour=0.0)
    chosen = torch.zeros(1, 4, dtype=torch.long)
    pool = Pool.of([white], [True], "cpu")
    images, labels = make_batch(pool, chosen, recipe, torch.Generator().manual_seed(0))
    expected = torch.full((3, SIDE, SIDE), PAD / 255)
    expected[:, SIDE // 4 : SIDE // 4 * 3, SIDE // 4 : SIDE // 4 * 3] = 1
    assert torch.allclose(images[0], expected)
    assert (labels == 0).all()


def test_a_training_batch_has_pixels_and_labels_in_range_and_repeats_with_its_seed() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from training.augment import Pool, Recipe, make_batch

    kinds: list[Any] = ["scan", "split", "photo"]
    pictures = [p for kind in kinds for p in draw_boards(kind, [1, 2], 1, lambda: None)]
    pool = Pool.of(pictures, [True] * 4 + [False] * 2, "cpu")
    chosen = torch.arange(24).reshape(6, 4) % 6
    batches = [make_batch(pool, chosen, Recipe(mosaic=0.5), torch.Generator().manual_seed(3)) for _ in range(2)]
    (images, labels), (again, _) = batches
    assert torch.equal(images, again)
    assert images.shape == (6, 3, SIDE, SIDE)
    assert images.min() >= 0
    assert images.max() <= 1
    sizes = labels[..., 3:] - labels[..., 1:3]
    there = (sizes > 0).all(-1)
    assert there.any(1).all()
    assert (labels[~there] == 0).all()
    assert labels[there][:, 1:].min() >= 0
    assert labels[there][:, 1:].max() <= 1


def test_pictures_are_chosen_from_one_group_for_a_mosaic_and_groups_by_their_shares() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("libreyolo", reason="LibreYOLO is not installed")
    from training.schedule import SHARES, choices

    sizes = (800, 12, 8, 20)
    edges = torch.tensor(sizes).cumsum(0)
    groups = torch.bucketize(choices(sizes, 4000, torch.Generator().manual_seed(0)), edges, right=True)
    assert (groups == groups[:, :1]).all()
    assert groups.max() < len(sizes)
    np.testing.assert_allclose(groups[:, 0].bincount() / 4000, SHARES, atol=0.03)


def test_the_learning_rate_rises_to_its_highest_and_falls_to_its_last() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("libreyolo", reason="LibreYOLO is not installed")
    from training.schedule import LAST_RATE, WARM_UP, rate

    rates = np.array([rate(step, 4000) for step in range(4000)])
    assert (np.diff(rates[:WARM_UP]) > 0).all()
    assert rates.max() == 1
    assert (np.diff(rates[WARM_UP:]) < 0).all()
    assert rates[-1] == pytest.approx(LAST_RATE, abs=1e-3)


# The model


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.load(MODEL)


def shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def test_the_model_takes_and_gives_what_its_card_says(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    (images,), (output,) = model.graph.input, model.graph.output
    assert images.name == "images"
    assert shape(images) == ["batch", 3, SIDE, SIDE]
    assert shape(output) == ["batch", 4 + len(CLASSES), 8400]
    assert {v.type.tensor_type.elem_type for v in (images, output)} == {onnx.TensorProto.FLOAT}
    assert next(o.version for o in model.opset_import if o.domain == "") >= 19
    names = json.loads(next(p.value for p in model.metadata_props if p.key == "names"))
    assert [names[str(k)] for k in range(len(CLASSES))] == list(CLASSES)
    assert MODEL.stat().st_size <= 12e6


def test_the_model_has_no_depthwise_convolution_and_no_batch_norm(model: onnx.ModelProto) -> None:
    weights = {w.name: w.dims for w in model.graph.initializer}
    convolutions = [n for n in model.graph.node if n.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        group = next((a.i for a in node.attribute if a.name == "group"), 1)
        outputs, inputs_of_group = weights[node.input[1]][:2]
        assert group == 1 or (inputs_of_group > 1 and outputs > group), node.name
    assert "BatchNormalization" not in {n.op_type for n in model.graph.node}


def test_the_model_finds_the_defects_of_boards_that_it_never_saw() -> None:
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    pictures = [p for kind in ("scan", "photo") for p in draw_boards(kind, range(500, 504), 1, lambda: None)]
    output = session.run(None, {"images": np.stack([p.image for p in pictures]).astype(np.float32) / 255})[0]
    found = total = 0
    for picture, (boxes, scores) in zip(pictures, ((o[:4].T, o[4:].T) for o in output), strict=True):
        for box, kind in zip(picture.boxes, picture.classes, strict=True):
            sure = boxes[scores[:, kind] > 0.25]
            low, high = np.maximum(sure[:, :2], box[:2]), np.minimum(sure[:, 2:], box[2:])
            both = (high - low).clip(0).prod(1)
            either = (sure[:, 2:] - sure[:, :2]).prod(1) + (box[2:] - box[:2]).prod() - both
            found += bool((both > 0.5 * either).any())
            total += 1
    assert found >= 0.85 * total, f"{found} of {total}"


def test_the_log_of_the_training_meets_the_bar() -> None:
    log = json.loads(LOG.read_text())
    assert log["final"]["deeppcb_val"]["map50"] >= 0.93
    assert log["final"]["deeppcb_val"]["map50_95"] >= 0.60
    assert log["final"]["fresh_boards"]["map50"] >= 0.90
