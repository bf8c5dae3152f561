"""Where an image lies in the network's input, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model_repository.postprocess import postprocess
from tests.server.references import placed

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
    assert postprocess.letterbox_geometry(*size, target) == place


@settings(max_examples=500, deadline=None)
@given(SIDES, SIDES)
def test_the_geometry_is_that_of_exact_fractions(height: int, width: int) -> None:
    assert postprocess.letterbox_geometry(height, width, (640, 640)) == placed(height, width)


@settings(max_examples=300, deadline=None)
@given(SIDES, SIDES, st.lists(st.floats(0, 1), min_size=4, max_size=4))
@pytest.mark.parametrize("target", [(640, 640), (384, 672)])
def test_a_box_comes_back_from_the_letterbox(
    target: tuple[int, int], height: int, width: int, corners: list[float]
) -> None:
    (x1, x2), (y1, y2) = sorted(corners[:2]), sorted(corners[2:])
    box = np.array([[x1 * width, y1 * height, x2 * width, y2 * height]])
    top, left, new_height, new_width = postprocess.letterbox_geometry(height, width, target)
    scale = np.array([new_width / width, new_height / height] * 2)
    letterboxed = (box * scale + [left, top, left, top]).astype(np.float32)
    back = postprocess.undo_letterbox(letterboxed, (height, width), target)
    np.testing.assert_allclose(back, box, atol=1e-6 * max(height, width) + 1e-4 * (1 / scale).max())


def test_boxes_that_reach_into_the_border_are_clipped_to_the_image() -> None:
    boxes = np.array([[-50, -50, 700, 700], [0, 0, 640, 79], [600, 561, 640, 640]], np.float32)
    back = postprocess.undo_letterbox(boxes, (960, 1280), (640, 640))
    assert back.tolist() == [[0, 0, 1280, 960], [0, 0, 1280, 0], [1200, 960, 1280, 960]]
