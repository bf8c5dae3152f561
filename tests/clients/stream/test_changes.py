"""Which tiles have changed: noise never, a few pixels always, and what is too little until it adds up."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from triton_yolo.boards.line import Line
from triton_yolo.clients.stream.changes import Changes, Grid

HEIGHT, WIDTH, SIDE = 192, 256, 64
LEARNING = 8  # frames until the noise of every tile was measured


def scene(seed: int = 0) -> np.ndarray:
    """A still scene, smooth and with edges."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    waves = 110 + 50 * np.sin(rows / 17) * np.cos(columns / 23) + 20 * (columns // 40 % 2)
    return np.clip(waves[..., None] + random.integers(-10, 10, 3), 20, 230).astype(np.uint8)


def noisy(picture: np.ndarray, random: np.random.Generator, deviation: float = 2.0) -> np.ndarray:
    return np.clip(picture + np.round(random.normal(0, deviation, picture.shape)), 0, 255).astype(np.uint8)


def learned(deviation: float, random: np.random.Generator, most: float = 4.0) -> tuple[Changes, np.ndarray]:
    """What compares a still scene whose noise it has learned, and that scene."""
    changes, still = Changes(Grid(HEIGHT, WIDTH, SIDE), most), scene()
    for _ in range(2 * LEARNING):
        frame = noisy(still, random, deviation)
        changes.look(frame)
        changes.sent(frame)
    return changes, still


def test_everything_has_changed_until_it_was_sent() -> None:
    changes = Changes(Grid(HEIGHT, WIDTH, SIDE), 4.0)
    assert changes.look(scene()).all()
    changes.sent(scene())
    assert not changes.look(scene()).any()


def test_only_what_was_sent_is_remembered() -> None:
    changes, tiles = Changes(Grid(HEIGHT, WIDTH, SIDE), 4.0), np.zeros((3, 4), bool)
    tiles[1, 2] = tiles[2, 3] = True
    changes.look(scene())
    changes.sent(scene(), tiles)
    np.testing.assert_array_equal(changes.look(scene()), ~tiles)


@pytest.mark.parametrize("deviation", [0.0, 0.5, 1.0, 2.0, 3.5])
def test_noise_is_no_change_once_it_is_known(deviation: float) -> None:
    random = np.random.default_rng(1)
    changes, still = learned(deviation, random)
    assert sum(int(changes.look(noisy(still, random, deviation)).sum()) for _ in range(200)) <= 1
    if deviation >= 1:
        assert changes.noise.deviation == pytest.approx(deviation, rel=0.1)


@pytest.mark.parametrize(
    ("side", "contrast"),
    [(1, 60), (2, 40), (3, 30), (6, 15), (10, 12)],
    ids=lambda value: str(value),
)
def test_a_defect_of_a_few_pixels_is_a_change_wherever_it_is(side: int, contrast: int) -> None:
    random = np.random.default_rng(2)
    changes, still = learned(2.0, random)
    changes.look(frame := noisy(still, random))
    changes.sent(frame)
    for row, column in random.integers(0, (HEIGHT - side, WIDTH - side), (60, 2)).tolist():
        defect = still.astype(int)
        defect[row : row + side, column : column + side] += contrast
        changed = changes.look(noisy(defect, random))
        corners = {(y // SIDE, x // SIDE) for y in (row, row + side - 1) for x in (column, column + side - 1)}
        assert any(changed[corner] for corner in corners), (row, column)
        assert {tuple(tile) for tile in np.argwhere(changed).tolist()} <= corners


def test_a_slow_change_is_sent_before_it_is_large() -> None:
    """Each frame differs from the one before by less than can be seen in the noise."""
    random = np.random.default_rng(3)
    changes, still = learned(2.0, random)
    sent, light, farthest = np.zeros((3, 4)), 0.0, 0.0
    for _ in range(400):
        light += 0.05
        frame = noisy(np.clip(still + light, 0, 255), random)
        changed = changes.look(frame)
        changes.sent(frame, changed)
        sent[changed] = light
        farthest = max(farthest, float((light - sent).max()))
    assert light - sent.min() < 4, "it was never sent"
    assert farthest < 4  # grey levels


def test_what_moves_is_not_taken_for_noise() -> None:
    """Boards pass and stop, and pass: what the threshold was while they stood, it is when they stand again."""
    line = Line(3, 640, 480, still_frames=20, moving_frames=40, boards=2, noise=2.0)
    changes = Changes(Grid(480, 640, SIDE), 4.0)
    highest = 0.0
    for frame in islice(line, 240):
        changed = changes.look(frame.image)
        changes.sent(frame.image, changed)
        highest = max(highest, changes.noise.deviation)
    assert 1.9 < highest < 2.2


def test_frames_that_come_again_to_the_last_bit_are_not_taken_for_frames_without_noise() -> None:
    random = np.random.default_rng(7)
    changes, still = Changes(Grid(HEIGHT, WIDTH, SIDE), 4.0), scene()
    loop = [noisy(still, random) for _ in range(LEARNING)]
    counts = []
    for number in range(10 * LEARNING):
        changed = changes.look(loop[number % LEARNING])
        changes.sent(loop[number % LEARNING], changed)
        counts.append(int(changed.sum()))
    assert sum(counts[3 * LEARNING :]) == 0


def test_more_than_the_bound_is_never_taken_for_noise() -> None:
    random = np.random.default_rng(4)
    changes, still = learned(6.0, random, most=4.0)
    assert changes.noise.deviation == 0
    assert changes.look(noisy(still, random, 6.0)).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (64, 64), (65, 63), (100, 130), (97, 201)], ids=str)
def test_frames_of_any_size_have_tiles_that_cover_them(size: tuple[int, int]) -> None:
    grid = Grid(*size, SIDE)
    covered = np.zeros(size, bool)
    height, width = grid.tile_shape
    positions = grid.positions(np.ones(grid.shape, bool))
    for row, column in positions.tolist():
        assert 0 <= row <= size[0] - height
        assert 0 <= column <= size[1] - width
        covered[row : row + height, column : column + width] = True
    assert covered.all()
    changes, frame = Changes(grid, 4.0), np.full((*size, 3), 100, np.uint8)
    changes.look(frame)
    changes.sent(frame)
    assert not changes.look(frame).any()
    for row, column in {(0, 0), (size[0] - 1, size[1] - 1), (size[0] // 2, size[1] - 1)}:
        other = frame.copy()
        other[row, column] += 50
        [place] = grid.positions(changes.look(other)).tolist()
        assert place[0] <= row < place[0] + height
        assert place[1] <= column < place[1] + width


def test_tiles_are_cut_where_they_are() -> None:
    grid, frame = Grid(100, 130, SIDE), np.random.default_rng(5).integers(0, 256, (100, 130, 3), np.uint8)
    tiles = np.array([[True, False, True], [False, True, True]])
    positions = grid.positions(tiles)
    assert positions.tolist() == [[0, 0], [0, 66], [36, 64], [36, 66]]
    for tile, (row, column) in zip(grid.cut(frame, positions), positions.tolist(), strict=True):
        np.testing.assert_array_equal(tile, frame[row : row + 64, column : column + 64])
