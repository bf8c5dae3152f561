"""Non-maximum suppression, case by case and against a plain reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.references import suppress
from triton_yolo.nms import suppression
from triton_yolo.nms.detections import detections
from triton_yolo.nms.letterbox import Letterbox
from triton_yolo.nms.suppression import non_maximum_suppression
from triton_yolo.nms.thresholds import Thresholds

LETTERBOX = Letterbox(640, 640)


def all_ways(call: Callable[[], Any]) -> Iterator[Any]:
    """What a call returns when rows are compared at once, also if few are looked at first, and one by one."""
    for pairs, rows in ((1 << 30, 128), (1 << 30, 1), (0, 128)):
        with mock.patch.multiple(suppression, AT_ONCE=pairs, LOOKED_AT=rows):
            yield call()


def nms(rows: list[list[float]], score: float = 0.25, iou: float = 0.5, most: int = 100) -> list[list[float]]:
    candidates, thresholds = np.array(rows, np.float32).reshape(-1, 6), Thresholds(score, iou)
    first, *others = all_ways(lambda: non_maximum_suppression(candidates, thresholds, most).tolist())
    assert all(other == first for other in others)
    return first


def kept(*rows: list[float], **options: float) -> list[int]:
    """Which of the rows stay."""
    left = nms(list(rows), **options)  # type: ignore[arg-type]
    return [i for i, row in enumerate(rows) if np.array(row, np.float32).tolist() in left]


BOX = [0.0, 0.0, 8.0, 8.0]
HALF = [0.0, 0.0, 8.0, 4.0]  # IoU with BOX is exactly 1/2
FAR = [100.0, 100.0, 108.0, 108.0]


@pytest.mark.parametrize(
    ("rows", "options", "stay"),
    [
        ([], {}, []),  # no candidates
        ([[*BOX, 0.1, 0]], {}, []),  # none is good enough
        ([[*BOX, 0.25, 0]], {}, [0]),  # a score equal to the threshold is enough
        ([[*BOX, 0.9, 0], [*BOX, 0.8, 0]], {}, [0]),  # the better of two equal boxes
        ([[*BOX, 0.9, 0], [*BOX, 0.8, 1]], {}, [0, 1]),  # different classes do not suppress one another
        ([[*BOX, 0.9, 0], [*FAR, 0.8, 0]], {}, [0, 1]),  # no overlap
        ([[*BOX, 0.9, 0], [*HALF, 0.8, 0]], {"iou": 0.5}, [0, 1]),  # an IoU equal to the threshold is allowed
        ([[*BOX, 0.9, 0], [*HALF, 0.8, 0]], {"iou": 0.4999}, [0]),  # one above it is not
        ([[*BOX, 0.5, 0], [*HALF, 0.5, 0]], {"iou": 0.1}, [0]),  # a tie: the first stays
        ([[*HALF, 0.5, 0], [*BOX, 0.5, 0]], {"iou": 0.1}, [0]),  # and the other way round
        # The second is suppressed by the first and suppresses nobody itself.
        ([[0, 0, 8, 8, 0.9, 0], [4, 0, 12, 8, 0.8, 0], [9, 0, 17, 8, 0.7, 0]], {"iou": 0.2}, [0, 2]),
        ([[*BOX, 0.9, 0], [*HALF, 0.8, 0], [*FAR, 0.7, 0]], {"most": 1, "iou": 1}, [0]),  # more than M
        ([[*BOX, 0.9, 0], [*HALF, 0.8, 0], [*FAR, 0.7, 0]], {"most": 2, "iou": 0}, [0, 2]),  # M counts those that stay
        ([[*BOX, 0.9, 0], [8, 0, 16, 8, 0.8, 0]], {"iou": 0}, [0, 1]),  # boxes that touch do not overlap
        ([[*BOX, 0.9, 0], [7.9, 0, 16, 8, 0.8, 0]], {"iou": 0}, [0]),  # at 0 any overlap is too much
        ([[*BOX, 0.9, 0], [1, 1, 8, 8, 0.8, 0]], {"iou": 1}, [0, 1]),  # at 1 everything stays
        ([[*BOX, 0.0, 0]], {"score": 0}, [0]),  # at 0 everything is good enough
        ([[*BOX, 1.0, 0], [*FAR, 0.9999, 0]], {"score": 1}, [0]),  # at 1 certainty alone
        ([[3, 3, 3, 3, 0.9, 0], [3, 3, 3, 3, 0.8, 0]], {"iou": 0}, [0, 1]),  # empty boxes overlap nothing
    ],
    ids=str,
)
def test_the_best_box_of_each_overlapping_group_stays(
    rows: list[list[float]], options: dict[str, float], stay: list[int]
) -> None:
    assert kept(*rows, **options) == stay


# Whole coordinates, so that float32 and Python's numbers agree on every area; ties of score and of overlap are likely.
SIDES = st.integers(0, 12)
ROWS = st.builds(
    lambda x, y, w, h, score, index: [x, y, x + w, y + h, score / 8, index],
    *[SIDES] * 4,
    st.integers(0, 8),
    st.integers(0, 2),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ROWS, max_size=40), st.sampled_from([0, 0.25, 0.5, 1]), st.sampled_from([0, 0.3, 0.45, 1]), SIDES)
def test_it_agrees_with_the_reference(rows: list[list[float]], score: float, iou: float, most: int) -> None:
    ordered = sorted(rows, key=lambda row: -row[4])
    assert nms(ordered, score, iou, most) == suppress(ordered, score, iou, most)


@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS, max_size=40))
def test_what_it_keeps_is_kept_again(rows: list[list[float]]) -> None:
    once = nms(sorted(rows, key=lambda row: -row[4]))
    assert nms(once) == once


def batch(*images: list[list[float]], k: int = 6) -> npt.NDArray[np.float32]:
    """Candidates [B, K, 6], filled up with rows of score 0."""
    candidates = np.zeros((len(images), k, 6), np.float32)
    for i, rows in enumerate(images):
        candidates[i, : len(rows)] = np.array(rows).reshape(-1, 6)
    return candidates


def test_detections_are_padded_with_zeros_image_by_image() -> None:
    one = [[10, 20, 30, 40, 0.9, 2], [12, 20, 30, 40, 0.8, 2]]
    two = [[10, 20, 30, 40, 0.9, 0], [300, 20, 330, 40, 0.8, 1], [10, 20, 30, 40, 0.7, 5]]
    number, boxes, scores, classes = detections(
        batch(one, [], two), np.full((3, 2), 640, np.int32), Thresholds(0.25, 0.45), 4, LETTERBOX
    )
    assert number.tolist() == [[1], [0], [3]]
    assert [a.dtype for a in (number, boxes, scores, classes)] == [np.int32, np.float32, np.float32, np.int32]
    assert boxes.shape == (3, 4, 4)
    assert boxes[0].tolist() == [[10, 20, 30, 40], [0] * 4, [0] * 4, [0] * 4]
    assert not boxes[1].any()
    np.testing.assert_array_equal(scores[2], np.array([0.9, 0.8, 0.7, 0], np.float32))
    assert classes.tolist() == [[2, 0, 0, 0], [0] * 4, [0, 1, 5, 0]]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(ROWS, max_size=20), min_size=1, max_size=5), st.sampled_from([0, 0.25, 1]), st.integers(1, 12))
def test_images_of_a_batch_get_what_each_gets_alone(images: list[list[list[float]]], score: float, most: int) -> None:
    candidates = batch(*(sorted(rows, key=lambda row: -row[4]) for rows in images), k=20)
    sizes = np.array([[480 + i, 640] for i in range(len(images))], np.int32)

    def detect(i: slice) -> list[npt.NDArray[Any]]:
        return detections(candidates[i], sizes[i], Thresholds(score, 0.45), most, LETTERBOX)

    for together in all_ways(lambda: detect(slice(None))):
        for i in range(len(images)):
            for one, all_of_them in zip(detect(slice(i, i + 1)), together, strict=True):
                np.testing.assert_array_equal(all_of_them[i], one[0])


def test_an_empty_batch_gives_empty_detections() -> None:
    arrays = detections(batch(), np.zeros((0, 2), np.int32), Thresholds(0.25, 0.45), 100, LETTERBOX)
    assert [array.shape for array in arrays] == [(0, 1), (0, 100, 4), (0, 100), (0, 100)]


@pytest.mark.parametrize("name", ["score_threshold", "iou_threshold"])
@pytest.mark.parametrize(
    "value", [-1, -1e-9, 1.0001, float("nan"), float("inf"), -float("inf"), True, False, None, "", "high", "nan", [0.5]]
)
def test_a_threshold_that_is_no_number_from_0_to_1_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a number from 0 to 1, got ") as caught:
        Thresholds(0.25, 0.45).updated({name: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(("value", "number"), [(0, 0.0), (1, 1.0), (0.5, 0.5), ("0.5", 0.5), ("1e-3", 0.001)])
def test_a_threshold_may_be_a_number_or_its_text(value: object, number: float) -> None:
    updated = Thresholds(0.25, 0.45).updated({"score_threshold": value, "priority": "high"})
    assert updated == Thresholds(number, 0.45)
