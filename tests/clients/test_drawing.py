from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clients.comparing import make
from tests.clients.pictures import TURNED, jpeg
from triton_yolo.clients import DetectionError
from triton_yolo.clients.drawing import draw, drawn


@pytest.mark.parametrize("size", [(3, 2), (40, 300), (640, 480), (3000, 2000)])
def test_lines_appear_around_the_box_at_any_size(size: tuple[int, int]) -> None:
    width, height = size
    pixels = np.full((height, width, 3), 255, np.uint8)
    box = [0.2 * width, 0.5 * height, 0.8 * width, 0.9 * height]

    picture = draw(pixels, make(("short", 0.5, box)))

    assert picture.shape == pixels.shape
    assert (pixels == 255).all(), "the input is left as it was"
    assert (picture[int(box[3]), int(box[0]) : int(box[2])] != 255).any(axis=-1).all(), "the lower side is a line"


def test_without_detections_the_picture_is_the_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (50, 60, 3), np.uint8)

    np.testing.assert_array_equal(draw(pixels, make()), pixels)


def test_boxes_are_drawn_on_the_upright_image(tmp_path: Path) -> None:
    encoded = jpeg(400, 200, TURNED, tmp_path / "turned.jpg")

    picture = cv2.imdecode(np.frombuffer(drawn(encoded, make(("open", 0.9, [20, 300, 180, 390])), ".png"), np.uint8), 1)

    assert picture.shape == (400, 200, 3)
    assert (picture[390, 20:180] < 200).any(axis=-1).all()
    assert (picture[:250] > 250).all()


def test_what_opencv_cannot_decode_is_told() -> None:
    with pytest.raises(DetectionError, match="cannot decode"):
        drawn(b"no image", make(), ".png")
