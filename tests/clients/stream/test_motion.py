"""Standing and moving, measured on the drawn line as every sensor would deliver it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from triton_yolo.boards.line import Line
from triton_yolo.boards.sensor import as_sensor
from triton_yolo.clients.request import Pixels
from triton_yolo.clients.stream.frames import ENCODED, FORMATS
from triton_yolo.clients.stream.motion import SIDES, Rest, difference, small_grey
from triton_yolo.clients.stream.rules import Motion

STILL, MOVING = 6, 8


def captured(picture: Pixels, pixel_format: str) -> Pixels:
    """The picture as a sensor delivers it."""
    if pixel_format == ENCODED:
        return np.asarray(cv2.imencode(".jpg", picture[..., ::-1])[1], np.uint8)
    return np.ascontiguousarray(as_sensor(picture, pixel_format))


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_boards_stand_and_move_as_the_belt_does_in_every_format(pixel_format: str) -> None:
    line = Line(0, 640, 480, boards=2, still_frames=STILL, moving_frames=MOVING)
    rest, settle = Rest(Motion()), Motion().settle

    stands = [
        rest.see(small_grey(captured(next(line).image, pixel_format), pixel_format))
        for _ in range(2 * (STILL + MOVING))
    ]

    board = [False] * settle + [True] * (STILL - settle) + [False] * MOVING
    assert stands == 2 * board


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 2000, 3), (2000, 5, 3)])
def test_pictures_of_any_shape_have_small_ones_of_the_same_size(shape: tuple[int, ...]) -> None:
    small = small_grey(np.full(shape, 70, np.uint8), "rgb")

    assert small is not None
    assert small.shape == SIDES[::-1]
    assert (small == 70).all()


def test_a_lamp_that_becomes_brighter_is_no_motion() -> None:
    picture = np.random.default_rng(0).integers(0, 100, SIDES[::-1]).astype(np.float32)

    assert difference(picture, picture + 50) == 0
    assert difference(picture, np.roll(picture, 1, axis=1)) > 10


def test_a_file_that_cannot_be_decoded_changes_nothing() -> None:
    rest, picture = Rest(Motion(settle=1)), np.zeros(SIDES[::-1], np.float32)
    rest.see(picture)
    assert rest.see(picture)

    assert small_grey(np.zeros(100, np.uint8), ENCODED) is None
    assert rest.see(None)


def test_a_difference_on_the_limit_stands() -> None:
    before, after = np.zeros(SIDES[::-1], np.float32), np.zeros(SIDES[::-1], np.float32)
    after[::2] = 4  # 2 from their mean each

    assert difference(before, after) == 2
    for threshold, stands in ((2.0, True), (1.99, False)):
        rest = Rest(Motion(threshold=threshold, settle=1))
        rest.see(before)
        assert rest.see(after) == stands
