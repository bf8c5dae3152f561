from __future__ import annotations

import json

import numpy as np
import pytest

from tests.clients.comparing import assert_same, make
from triton_yolo.clients import DetectionError, Detections

LABELS = ("open", "short", "spur")


def padded(*numbers: int) -> dict[str, np.ndarray]:
    """A response with as many detections an image; rows behind them are not zero, to show that nothing reads them."""
    rng = np.random.default_rng(7)
    shape = (len(numbers), 5)
    return {
        "num_detections": np.array(numbers, np.int32)[:, None],
        "boxes": rng.random((*shape, 4), np.float32),
        "scores": rng.random(shape, np.float32),
        "classes": rng.integers(0, 3, shape, np.int32),
    }


def test_padding_is_taken_off_each_image_by_itself() -> None:
    tensors = padded(2, 0, 5)

    first, none, full = Detections.from_tensors(tensors, LABELS)

    assert [len(first), len(none), len(full)] == [2, 0, 5]
    np.testing.assert_array_equal(first.boxes, tensors["boxes"][0, :2])
    np.testing.assert_array_equal(full.scores, tensors["scores"][2])
    assert first.names == tuple(LABELS[c] for c in tensors["classes"][0, :2])


def test_detections_can_be_changed_without_changing_others_or_the_response() -> None:
    tensors = padded(2, 3)
    for tensor in tensors.values():
        tensor.flags.writeable = False  # as what is read off a connection
    before = tensors["boxes"].copy()

    first, second = Detections.from_tensors(tensors, LABELS)
    first.boxes[:] = 0
    first.scores[:] = 0

    np.testing.assert_array_equal(second.boxes, before[1, :3])
    np.testing.assert_array_equal(tensors["boxes"], before)


def test_an_image_without_detections_keeps_dtypes_and_shapes() -> None:
    (none,) = Detections.from_tensors(padded(0), LABELS)

    assert none.boxes.shape == (0, 4)
    assert (none.boxes.dtype, none.scores.dtype, none.classes.dtype) == (np.float32, np.float32, np.int32)
    assert none.as_dict() == {"detections": []}
    assert len(none.to_supervision()) == 0


@pytest.mark.parametrize("wrong", [3, -1])
def test_a_class_without_a_label_is_refused(wrong: int) -> None:
    tensors = padded(2)
    tensors["classes"][0, 1] = wrong

    with pytest.raises(DetectionError, match="outside of its 3 labels"):
        Detections.from_tensors(tensors, LABELS)


def test_a_class_without_a_label_in_the_padding_does_not_matter() -> None:
    tensors = padded(2)
    tensors["classes"][0, 2] = 9

    assert len(Detections.from_tensors(tensors, LABELS)[0]) == 2


@pytest.mark.parametrize("number", [0, 1, 5])
def test_json_carries_every_bit(number: int) -> None:
    (detections,) = Detections.from_tensors(padded(number), LABELS)

    assert_same(Detections.from_dict(json.loads(detections.to_json())), detections)


def test_json_is_written_for_people() -> None:
    assert make(("spur", 0.3, [1, 2, 3.1, 4])).as_dict() == {
        "detections": [{"box": [1.0, 2.0, 3.1, 4.0], "score": 0.3, "class": 2, "name": "spur"}]
    }


def test_further_outputs_keep_their_rows_only_where_they_have_one_for_each_box() -> None:
    tensors = padded(2, 0)
    tensors["masks"] = np.arange(2 * 5 * 3).reshape(2, 5, 3)
    tensors["image_size"] = np.array([[7, 8], [9, 10]], np.int32)

    first, none = Detections.from_tensors(tensors, LABELS)

    np.testing.assert_array_equal(first.extra["masks"], tensors["masks"][0, :2])
    np.testing.assert_array_equal(first.extra["image_size"], [7, 8])
    assert none.extra["masks"].shape == (0, 3)
    assert make().extra == {}


def test_missing_outputs_are_named_with_those_that_came() -> None:
    tensors = padded(2)
    del tensors["scores"], tensors["classes"]

    with pytest.raises(DetectionError, match=r"has no scores and no classes: .* answered with num_detections, boxes$"):
        Detections.from_tensors(tensors, LABELS)


def test_supervision_gets_boxes_scores_classes_and_names() -> None:
    detections = make(("spur", 0.5, [1, 2, 3, 4]), ("open", 0.25, [5, 6, 7, 8]))

    shown = detections.to_supervision()

    np.testing.assert_array_equal(shown.xyxy, detections.boxes)
    np.testing.assert_array_equal(shown.confidence, [0.5, 0.25])
    np.testing.assert_array_equal(shown.class_id, [2, 0])
    assert list(shown.data["class_name"]) == ["spur", "open"]
