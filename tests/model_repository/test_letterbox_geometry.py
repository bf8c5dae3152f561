"""Where an image lies in the network's input, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.references import placed
from triton_yolo.nms.letterbox import Letterbox, undo_letterbox

LETTERBOXES = [Letterbox(*place) for place in [(640, 640), (384, 672), (384, 672, False), (640, 640, False, "down")]]
SIDES = st.integers(1, 10_000)


@pytest.mark.parametrize(
    ("size", "target", "place"),
    [
        ((640, 640), (640, 640), (0, 0, 640, 640)),  # nothing to do
        ((960, 1280), (640, 640), (80, 0, 480, 640)),  # landscape
        ((1280, 960), (640, 640), (0, 80, 640, 480)),  # portrait
        ((320, 320), (640, 640), (0, 0, 640, 640)),  # scaled up
        ((1, 1), (640, 640), (0, 0, 640, 640)),  # one pixel
        ((1, 10_000), (640, 640), (319, 0, 1, 640)),  # a row is never lost
        ((427, 640), (640, 640), (106, 0, 427, 640)),  # 213 rows of border: the odd one is below
        ((1280, 641), (640, 640), (0, 159, 640, 321)),  # 320.5 is rounded up
        ((960, 1280), (480, 640), (0, 0, 480, 640)),  # an input that is not square
        ((960, 1280), (640, 480), (140, 0, 360, 480)),
    ],
)
def test_the_image_is_centred_and_as_large_as_fits(
    size: tuple[int, int], target: tuple[int, int], place: tuple[int, int, int, int]
) -> None:
    assert Letterbox(*target).place(*size) == place


def test_sizes_may_be_rounded_down_and_up() -> None:
    assert Letterbox(640, 640, rounding="down").place(1280, 641) == (0, 160, 640, 320)
    assert Letterbox(640, 640, rounding="up").place(1280, 641) == (0, 159, 640, 321)
    assert Letterbox(640, 640, rounding="down").place(1, 10_000) == (319, 0, 1, 640)  # a row is never lost


@settings(max_examples=500, deadline=None)
@given(SIDES, SIDES)
@pytest.mark.parametrize("rounding", ["nearest", "down", "up"])
def test_the_geometry_is_that_of_exact_fractions(rounding: str, height: int, width: int) -> None:
    letterbox = Letterbox(640, 640, rounding=rounding)
    assert letterbox.place(height, width) == placed(height, width, rounding=rounding)


@settings(max_examples=300, deadline=None)
@given(SIDES, SIDES, st.lists(st.floats(0, 1), min_size=4, max_size=4))
@pytest.mark.parametrize("letterbox", LETTERBOXES, ids=str)
def test_a_box_comes_back_from_the_letterbox(letterbox: Any, height: int, width: int, corners: list[float]) -> None:
    (x1, x2), (y1, y2) = sorted(corners[:2]), sorted(corners[2:])
    box = np.array([[x1 * width, y1 * height, x2 * width, y2 * height]])
    top, left, new_height, new_width = letterbox.place(height, width)
    scale = np.array([new_width / width, new_height / height] * 2)
    letterboxed = (box * scale + [left, top, left, top]).astype(np.float32)
    back = undo_letterbox(letterboxed, (height, width), letterbox)
    np.testing.assert_allclose(back, box, atol=1e-6 * max(height, width) + 1e-4 * (1 / scale).max())


@settings(max_examples=300, deadline=None)
@given(SIDES, SIDES)
@pytest.mark.parametrize("target", [(640, 640), (384, 672)])
def test_at_the_top_left_it_has_the_same_size_and_no_border_before_it(
    target: tuple[int, int], height: int, width: int
) -> None:
    _, _, *size = Letterbox(*target).place(height, width)
    assert Letterbox(*target, centred=False).place(height, width) == (0, 0, *size)


def test_the_configuration_says_how_the_image_is_fitted() -> None:
    values = {"input_height": "384", "input_width": "640", "letterbox": "top-left"}
    assert Letterbox.from_parameters(values) == Letterbox(384, 640, centred=False)
    with pytest.raises(ValueError, match="letterbox must be one of centred, top-left, got 'middle'"):
        Letterbox.from_parameters(values | {"letterbox": "middle"})
    down = Letterbox.from_parameters(values | {"letterbox_rounding": "down"})
    assert down == Letterbox(384, 640, centred=False, rounding="down")
    with pytest.raises(ValueError, match="letterbox_rounding must be one of nearest, down, up, got 'out'"):
        Letterbox.from_parameters(values | {"letterbox_rounding": "out"})


def test_boxes_that_reach_into_the_border_are_clipped_to_the_image() -> None:
    boxes = np.array([[-50, -50, 700, 700], [0, 0, 640, 79], [600, 561, 640, 640]], np.float32)
    back = undo_letterbox(boxes, (960, 1280), Letterbox(640, 640))
    assert back.tolist() == [[0, 0, 1280, 960], [0, 0, 1280, 0], [1200, 960, 1280, 960]]
