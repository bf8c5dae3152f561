"""Pictures that sinks get: the right colours at the right size, and no slot held for longer than they take."""

from __future__ import annotations

import threading
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from tests.clients.stream.memory import Memory
from triton_yolo.clients.memory.ring import Capture
from triton_yolo.clients.pixel_formats import PIXEL_FORMATS
from triton_yolo.clients.request import Pixels
from triton_yolo.clients.stream.events import Event, Picture
from triton_yolo.clients.stream.frames import ENCODED, FORMATS, Frame, Result, ResultState
from triton_yolo.clients.stream.pictures import HELD, HELD_FAILED, Pictures, picture_of
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.verdict import FrameVerdict, Verdict

HEIGHT, WIDTH = 96, 128
COLORS = ((200, 40, 30), (20, 180, 60), (40, 60, 220), (240, 240, 240))  # RGB of the quarters


def board() -> Pixels:
    """A picture of four quarters, uint8 [HEIGHT, WIDTH, 3] RGB."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for place, color in enumerate(COLORS):
        row, column = divmod(place, 2)
        picture[row * HEIGHT // 2 : (row + 1) * HEIGHT // 2, column * WIDTH // 2 : (column + 1) * WIDTH // 2] = color
    return picture


def captured(picture: Pixels, pixel_format: str) -> Pixels:
    """The picture as a sensor delivers it."""
    if pixel_format == "rgb":
        return picture
    if pixel_format == ENCODED:
        return np.asarray(cv2.imencode(".png", picture[..., ::-1])[1], np.uint8)
    if pixel_format.startswith("bayer"):
        frame = np.zeros(picture.shape[:2], np.uint8)
        for place, color in enumerate(pixel_format.removeprefix("bayer_")):
            row, column = divmod(place, 2)
            frame[row::2, column::2] = picture[row::2, column::2, "rgb".index(color)]
        return frame
    yuv = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV)  # of the full range; OpenCV's packed ones have the narrow one
    y = 16 + yuv[..., 0] * (219 / 255)
    u, v = (128 + (yuv[..., place] - 128.0) * scale for place, scale in ((1, 224 / 255 / 0.872), (2, 224 / 255 / 1.23)))
    if pixel_format == "yuyv":
        frame = np.stack([y, np.where(np.arange(WIDTH) % 2, v, u)], axis=-1)
    else:
        chroma = np.stack([u[::2, ::2], v[::2, ::2]], axis=-1).reshape(HEIGHT // 2, WIDTH)
        frame = np.concatenate([y, chroma])
    return np.clip(np.round(frame), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("longest", [0, WIDTH, WIDTH // 2, WIDTH // 2 - 6, 20])
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_a_picture_has_the_colours_of_its_frame_at_the_size_that_is_wanted(pixel_format: str, longest: int) -> None:
    pixels = captured(board(), pixel_format)
    if pixel_format in PIXEL_FORMATS:
        assert pixels.shape == PIXEL_FORMATS[pixel_format].shape(HEIGHT, WIDTH)

    image, scale = picture_of(pixels, pixel_format, longest)

    assert image is not None
    assert max(image.shape[:2]) == (longest or WIDTH)
    assert scale == pytest.approx((longest or WIDTH) / WIDTH, abs=0.01)
    for place, color in enumerate(COLORS):
        row, column = divmod(place, 2)
        middle = image[image.shape[0] * (2 * row + 1) // 4, image.shape[1] * (2 * column + 1) // 4]
        assert np.abs(middle[::-1].astype(int) - color).max() <= 6, (place, middle)


def test_a_picture_is_no_view_of_the_frame() -> None:
    pixels = board()

    image, _ = picture_of(pixels, "rgb")
    pixels[:] = 0

    assert image is not None and image.any()


def test_a_file_that_is_damaged_has_no_picture() -> None:
    assert picture_of(np.frombuffer(b"no picture", np.uint8), ENCODED, 20) == (None, 0.0)


class Wall(Sink):
    """Wants pictures of some size, and keeps them."""

    kind, events = "wall", (Picture,)

    def __init__(self, wish: Callable[[FrameVerdict], int | None]) -> None:
        self.pictures: list[Picture] = []
        self._wish = wish
        super().__init__()

    def wants(self, verdict: FrameVerdict) -> int | None:
        return self._wish(verdict)

    def write(self, event: Event) -> None:
        assert isinstance(event, Picture)
        self.pictures.append(event)


def judged(verdict: Verdict = Verdict.PASS) -> FrameVerdict:
    return FrameVerdict(Result("top", 0, ResultState.INSPECTED), verdict)


def frame() -> Frame:
    capture = Capture(0, 0, 0, 0, 0, HEIGHT * WIDTH * 3, HEIGHT, WIDTH, FORMATS.index("rgb"))
    return Frame("top", capture, "rgb", Memory(board()))


def test_each_sink_gets_the_size_that_it_wants_and_the_slot_is_given_back() -> None:
    small, large, none = Wall(lambda _: 32), Wall(lambda _: 0), Wall(lambda _: None)
    pictures, done = Pictures([small, large, none]), threading.Event()

    assert pictures.take(frame(), judged(), done.set)
    pictures.close()
    for wall in (small, large, none):
        wall.close()

    assert done.is_set()
    assert [picture.image.shape for picture in small.pictures] == [(24, 32, 3)]
    assert [picture.scale for picture in small.pictures] == [0.25]
    assert [picture.image.shape for picture in large.pictures] == [(HEIGHT, WIDTH, 3)]
    assert not none.pictures


def test_a_frame_that_no_sink_wants_is_not_kept() -> None:
    wall = Wall(lambda _: None)
    pictures = Pictures([wall])

    assert not pictures.take(frame(), judged(), lambda: pytest.fail("it was not kept"))

    pictures.close()
    wall.close()


def test_pictures_are_left_out_where_the_thread_is_behind_and_failures_last() -> None:
    held, wall = threading.Event(), Wall(lambda _: 0)
    pictures, done = Pictures([wall]), list[int]()

    def wait() -> None:
        held.wait()
        done.append(1)

    assert HELD == 1
    assert pictures.take(frame(), judged(), wait)
    assert not pictures.take(frame(), judged(), wait)
    assert HELD_FAILED == 2
    assert pictures.take(frame(), judged(Verdict.FAIL), wait)
    assert not pictures.take(frame(), judged(Verdict.FAIL), wait)
    held.set()
    pictures.close()
    wall.close()

    assert len(done) == 2


def test_a_sink_that_takes_pictures_slowly_keeps_a_few_and_counts_none_as_missed() -> None:
    held, wall = threading.Event(), Wall(lambda _: 0)
    wall.write = lambda event: held.wait() and None  # type: ignore[method-assign,assignment]

    for _ in range(100):
        wall.put(Picture(judged(), board(), 1.0))
    queued = wall.queued
    held.set()
    wall.close()

    assert queued <= 8
    assert wall.missed == 0
