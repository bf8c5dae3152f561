"""The pixels that reach the network, against Pillow, OpenCV and exact fractions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.server.pictures import ENCODINGS, picture
from tests.server.references import PAD, bilinear, letterbox, opencv, placed, upright
from tests.server.rounding import SIZES as ROUNDED
from tests.server.rounding import assert_rounded, rounding_otherwise
from tests.server.wire import Answer, Client
from tests.support.servers import serving

SIZES = [  # height, width
    (1, 1),  # scaled up 640 times
    (2, 1),
    (3, 5),
    (641, 639),  # scaled down by less than a pixel
    (639, 641),
    (640, 640),  # no scaling
    (640, 427),  # odd border
    (427, 640),
    (1, 97),  # one row
    (131, 1),  # one column
]
# The rest takes as long, and is tested in the slow tier.
COMMON = ("JPEG 4:2:0", "JPEG progressive", "JPEG grey", "JPEG CMYK", "PNG RGB", "PNG RGBA", "EXIF orientation 6")
LARGE = [(4000, 6000, "JPEG 4:2:0"), (6000, 4000, "EXIF orientation 6"), (3001, 2003, "PNG RGB")]
# Grey levels, mean over the image. OpenCV resizes in fixed point, and rounds
# otherwise than Pillow where it makes RGB of CMYK.
LEVELS, LEVELS_OF_CMYK = {bilinear: 0.5, opencv: 0.0}, {bilinear: 1.2, opencv: 1.2}


def cases() -> list[tuple[int, int, str]]:
    """Every encoding in eleven sizes, four of those above and seven random ones, and three large images."""
    rng = np.random.default_rng(0)
    names = list(ENCODINGS)
    listed = [(*SIZES[i % len(SIZES)], names[i % len(names)]) for i in range(4 * len(names))]
    random = [(*rng.integers(2, 900, 2).tolist(), names[i % len(names)]) for i in range(7 * len(names))]
    return listed + random + LARGE


def assert_letterboxed(
    answer: Answer, pixels: npt.NDArray[np.uint8], allowed: Mapping[Callable, float] = LEVELS
) -> None:
    """Hold one answer against exact arithmetic and against OpenCV."""
    height, width = pixels.shape[:2]
    assert answer["image_size"].tolist() == [[height, width]]
    top, left, new_height, new_width = placed(height, width)
    got = answer["images"][0].astype(int)
    border = np.ones((640, 640), bool)
    border[top : top + new_height, left : left + new_width] = False
    assert (got[:, border] == PAD).all(), "the border is not 114 everywhere"
    for resize, levels in allowed.items():
        difference = np.abs(got - letterbox(pixels, resize))[:, ~border]
        assert difference.max() <= (2 if allowed is LEVELS_OF_CMYK else 1)
        assert difference.mean() <= levels, f"{height}x{width}: {difference.mean():.3f} levels from {resize.__name__}"


@pytest.mark.parametrize(
    "name", [name if name in COMMON else pytest.param(name, marks=pytest.mark.slow) for name in ENCODINGS]
)
def test_encoded_images_are_letterboxed_like_the_reference(cells: Client, name: str) -> None:
    for seed, (height, width, encoding) in enumerate(cases()):
        if encoding != name:
            continue
        encoded = ENCODINGS[name](picture(seed, height, width))
        levels = LEVELS_OF_CMYK if name == "JPEG CMYK" else LEVELS
        assert_letterboxed(cells.detect(encoded, "preprocess"), upright(encoded), levels)


@pytest.mark.parametrize("size", [*SIZES, (960, 1280), (733, 411)], ids=str)
def test_raw_frames_are_letterboxed_like_the_reference(cells: Client, size: tuple[int, int]) -> None:
    frame = picture(7, *size)
    assert_letterboxed(cells.ask("preprocess_frames", frames=frame[None]), frame)


@pytest.mark.parametrize(
    ("size", "place"),
    [
        ((640, 427), (0, 106, 640, 427)),  # 213 columns of border: 106 left, 107 right
        ((427, 640), (106, 0, 427, 640)),  # and the same for rows
        ((960, 1280), (80, 0, 480, 640)),  # half the size
        ((1, 1), (0, 0, 640, 640)),  # one pixel fills it all
        ((1, 6000), (319, 0, 1, 640)),  # never less than one row
        ((256, 1024), (240, 0, 160, 640)),
        ((1279, 640), (0, 160, 640, 320)),  # 320.25 columns
        ((1280, 641), (0, 159, 640, 321)),  # 320.5 columns: half up
    ],
    ids=str,
)
def test_a_white_image_fills_exactly_its_place(
    cells: Client, size: tuple[int, int], place: tuple[int, int, int, int]
) -> None:
    encoded = ENCODINGS["PNG RGB"](np.full((*size, 3), 255, np.uint8))
    answer = cells.detect(encoded, "preprocess")
    top, left, height, width = place
    wanted = np.full((640, 640), PAD, np.uint8)
    wanted[top : top + height, left : left + width] = 255
    np.testing.assert_array_equal(answer["images"][0], np.stack([wanted] * 3))


@pytest.mark.slow
@pytest.mark.parametrize("rounding", ["down", "up"])
def test_sizes_are_rounded_as_the_repository_says(rounding: str, cells_repository: Path, tmp_path: Path) -> None:
    repository = rounding_otherwise(cells_repository, tmp_path / "repository", rounding)
    with serving(repository) as running:
        client = Client(running.addresses)
        assert_rounded(client, rounding)
        for size in ROUNDED:
            answer = client.detect(ENCODINGS["PNG RGB"](np.full((*size, 3), 255, np.uint8)), "preprocess")
            top, left, height, width = placed(*size, rounding=rounding)
            inside = answer["images"][0][0] == 255
            assert inside.sum() == height * width
            assert inside[top : top + height, left : left + width].all()
