from __future__ import annotations

import numpy as np
import pytest

from tests.server.sensors import CODES, converted
from triton_yolo.boards import draw_board
from triton_yolo.boards.sensor import as_sensor
from triton_yolo.clients.pixel_formats import PIXEL_FORMATS


@pytest.fixture(scope="module")
def board() -> np.ndarray:
    return draw_board(1, 64, 48, "photo").image


@pytest.mark.parametrize("name", PIXEL_FORMATS)
def test_a_picture_has_the_shape_of_its_format(board: np.ndarray, name: str) -> None:
    frame = as_sensor(board, name)
    assert frame.dtype == np.uint8
    assert frame.shape == PIXEL_FORMATS[name].shape(48, 64)


@pytest.mark.parametrize("name", CODES)
def test_one_colour_comes_back_as_it_was(name: str) -> None:
    colour = np.broadcast_to(np.array([200, 100, 50], np.uint8), (8, 12, 3))
    back = converted(as_sensor(np.ascontiguousarray(colour), name), name)
    assert np.abs(back.astype(int) - colour).max() <= 2, "grey levels: video has 220 of them"


def test_a_bayer_pixel_keeps_the_colour_of_its_place(board: np.ndarray) -> None:
    frame = as_sensor(board, "bayer_grbg")
    assert frame[0, 0] == board[0, 0, 1]
    assert frame[0, 1] == board[0, 1, 0]
    assert frame[1, 0] == board[1, 0, 2]
    assert frame[3, 3] == board[3, 3, 1]


@pytest.mark.parametrize("name", ["grey", "bayer", "bayer_rgb", "bayer_rgbb", "foveon_rggb"])
def test_a_format_that_is_none_is_refused(board: np.ndarray, name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is no pixel format"):
        as_sensor(board, name)


def test_an_odd_side_is_refused(board: np.ndarray) -> None:
    with pytest.raises(ValueError, match="an even height and width, got 47x64"):
        as_sensor(board[:-1], "nv12")
