"""Which tiles of a camera's frames have changed, measured against the noise of its sensor.

Each frame is compared with what was sent last of each tile, never with the frame before: a change that is too small to
be seen adds up until it is. The comparison is of single pixels, and of means of 2 x 2 and 4 x 4 pixels, in which noise
is halved and quartered, and a faint change of a few pixels is not. A tile has changed where a difference is larger than
noise ever is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from triton_yolo.clients.request import Pixels

SIGNIFICANT = 6.5  # deviations: of four million differences of noise, one in some thousand frames is larger
LEVELS = (1, 2, 4)  # pixels that a mean is of, each way
# Lowest deviations of a difference, by level: of single pixels that were rounded, and of means that were.
FLOORS = (1.0, 0.6, 0.5)
ROUNDING = 1 / 6  # variance of the difference of two means that were rounded to whole grey levels
WHITE = 1.3  # times smaller is the deviation of 4 x 4 pixels than that of 2 x 2, at least, if it is noise: 2 if white
DRIFT = 1.5  # grey levels by which the mean of a tile may differ from what was sent
LEARNED_PER_FRAME = 16  # frames in which the noise of every tile is measured once; all at once while none is known
REMEMBERED = 8  # measurements of a tile of which the second smallest counts
ENOUGH = 3  # measurements from which on it does: of fewer, the smallest

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Grid:
    """Tiles of a frame, all of one size; those at the right and the bottom overlap others where the sides demand it.

    Attributes:
        height: of the frame, in pixels.
        width: of the frame, in pixels.
        side: of a tile, in pixels; a multiple of 16.
    """

    height: int
    width: int
    side: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.height // self.side), -(-self.width // self.side)

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Height and width of a tile, in pixels."""
        return min(self.side, self.height), min(self.side, self.width)

    def positions(self, tiles: Mask) -> npt.NDArray[np.int32]:
        """Return where tiles are.

        Args:
            tiles: bool, of the grid's shape.

        Returns:
            int32 [N, 2], row and column in the frame of each one's first pixel.
        """
        height, width = self.tile_shape
        return np.minimum(np.argwhere(tiles) * self.side, (self.height - height, self.width - width)).astype(np.int32)

    def cut(self, frame: Pixels, positions: npt.NDArray[np.int32]) -> Pixels:
        """Return tiles of a frame, uint8 [N, h, w, 3].

        Args:
            frame: uint8 [height, width, 3].
            positions: of the tiles.
        """
        height, width = self.tile_shape
        found = np.empty((len(positions), height, width, frame.shape[2]), np.uint8)
        for tile, (row, column) in zip(found, positions.tolist(), strict=True):
            tile[:] = frame[row : row + height, column : column + width]
        return found


def boxes_of(positions: npt.NDArray[np.int32], shape: Sequence[int]) -> npt.NDArray[np.int32]:
    """Return the boxes of tiles, int32 [N, 4], x1, y1, x2, y2 in pixels.

    Args:
        positions: int32 [N, 2], row and column in the frame of each tile's first pixel.
        shape: height and width of each, in pixels.
    """
    (y, x), (height, width) = positions.T, shape
    return np.stack([x, y, x + width, y + height], axis=1)


@dataclass
class Noise:
    """What differences of a scene that stands still look like, for each tile.

    Attributes:
        grid: the tiles.
        most: the largest deviation of a pixel that is taken for noise, in grey levels.
    """

    grid: Grid
    most: float
    _seen: npt.NDArray[np.float32] = field(init=False)  # [REMEMBERED, 2, rows, columns]: deviations of 2 x 2 and 4 x 4

    def __post_init__(self) -> None:
        self._seen = np.full((REMEMBERED, 2, *self.grid.shape), np.nan, np.float32)
        self._next = np.zeros(self.grid.shape[0], int)
        self.thresholds = np.empty((len(LEVELS), *self.grid.shape), np.float32)
        self._set(slice(None))

    def learn(self, rows: slice, halves: npt.NDArray[np.float32], quarters: npt.NDArray[np.float32]) -> None:
        """Learn from differences, if they are noise: small, and smaller the more pixels a mean is of.

        What moves has edges, which 4 x 4 pixels show as well as 2 x 2 do. The second smallest of several
        measurements counts (after minimum statistics, Martin 2001), so that what moves like noise for a while is
        forgotten when it stands. A tile that is the same to the last bit tells nothing: films and files are shown
        again.

        Args:
            rows: of tiles.
            halves: deviations of means of 2 x 2 pixels from those that were sent, float32 [len(rows), columns].
            quarters: the same of 4 x 4.
        """
        noise = (halves >= WHITE * quarters) & (halves <= self.most * 2**0.5 / 2) & (quarters > 0)
        for row in range(*rows.indices(self.grid.shape[0])):
            place, at = self._next[row] % REMEMBERED, row - (rows.start or 0)
            kept = self._seen[place, :, row]
            kept[:, noise[at]] = np.stack([halves[at], quarters[at]])[:, noise[at]]
            self._next[row] += bool(noise[at].any())
        self._set(rows)

    def _set(self, rows: slice) -> None:
        """Derive the thresholds of some rows of tiles, in grey levels."""
        measured = np.sort(self._seen[:, :, rows], axis=0)  # what was not measured is last
        enough = np.isfinite(measured[ENOUGH - 1])
        halves, quarters = np.nan_to_num(np.where(enough, measured[1], measured[0]))
        pixels = 2 * np.sqrt(np.maximum(halves**2 - ROUNDING, 0))
        deviations = np.maximum(np.stack([pixels, halves, quarters]), np.array(FLOORS)[:, None, None])
        self.thresholds[:, rows] = SIGNIFICANT * deviations

    @property
    def known(self) -> bool:
        """Whether anything is known."""
        return bool(np.isfinite(self._seen).any())

    @property
    def deviation(self) -> float:
        """The sensor's noise, in grey levels of a pixel: the median over the tiles; 0 while nothing is known."""
        return float(np.median(self.thresholds[0])) / SIGNIFICANT / 2**0.5 if self.known else 0.0


class Changes:
    """Compares frames with what was sent.

    Attributes:
        grid: the tiles.
        noise: of the sensor.
    """

    def __init__(self, grid: Grid, most_noise: float) -> None:
        """Begin; everything has changed until ``sent`` is called.

        Args:
            grid: the tiles.
            most_noise: the largest deviation of a pixel that is taken for the sensor's noise, in grey levels.
        """
        self.grid, self.noise = grid, Noise(grid, most_noise)
        rows, columns = grid.shape
        # With a border of zeros, where the frame ends inside a tile: nothing differs there.
        shapes = [(rows * grid.side // level, columns * grid.side // level, 3) for level in LEVELS]
        self._sent: list[Pixels] = [np.zeros(shape, np.uint8) for shape in shapes]
        self._now: list[Pixels] = [np.zeros(shape, np.uint8) for shape in shapes[1:]]
        # Of one row of tiles: what the processor has in its cache is compared while it is there.
        self._difference: list[Pixels] = [
            np.zeros((grid.side // level, *shape[1:]), np.uint8) for level, shape in zip(LEVELS, shapes, strict=True)
        ]
        # How many samples of the frame a tile has at each level: fewer where the frame ends inside it.
        self._samples = [
            3 * np.outer(*(_lengths(length, grid.side, level) for length in (grid.height, grid.width)))
            for level in LEVELS
        ]
        self._turn = self._seen = 0

    def look(self, frame: Pixels) -> Mask:
        """Return which tiles have changed since they were sent.

        Args:
            frame: uint8 [height, width, 3].

        Returns:
            bool, of the grid's shape.
        """
        rows, columns = self.grid.shape
        highest = [np.empty((rows, difference[0].size), np.uint8) for difference in self._difference]
        for row in range(rows):
            self._compare(row, frame, [high[row] for high in highest])
        largest = np.stack([high.reshape(rows, columns, -1).max(axis=2) for high in highest])
        drifted = self._drifted()  # which learns, so that the second frame is compared with what is known by then
        changed: Mask = (largest > self.noise.thresholds).any(axis=0)
        return changed | drifted

    def _compare(self, row: int, frame: Pixels, highest: list[Pixels]) -> None:
        """Average a row of tiles and compare it, while the processor has it in its cache.

        Args:
            row: of tiles.
            frame: uint8 [height, width, 3].
            highest: for each level, gets the largest difference in each column of samples of the row.
        """
        side = self.grid.side
        now: Any = frame[row * side : (row + 1) * side]
        for level, high in zip(range(len(LEVELS)), highest, strict=True):
            if level:
                now = self._averaged(level, row, now)
            height, width = now.shape[:2]
            first = row * side // LEVELS[level]
            if not height * width:
                high.fill(0)
                continue
            part = self._difference[level][:height]
            cv2.absdiff(now, self._sent[level][first : first + height, :width], part[:, :width])
            part.reshape(height, -1).max(axis=0, out=high)

    def _averaged(self, level: int, row: int, before: Any) -> Any:
        """Return means of 2 x 2 of the level before; what is left over at the end is in single pixels alone."""
        height, width = before.shape[0] // 2, before.shape[1] // 2
        first = row * self.grid.side // LEVELS[level]
        now = self._now[level - 1][first : first + height, :width]
        if height and width:
            cv2.resize(before[: 2 * height, : 2 * width], (width, height), dst=now, interpolation=cv2.INTER_AREA)
        return now

    def sent(self, frame: Pixels, tiles: Mask | None = None) -> None:
        """Remember what was sent.

        Args:
            frame: the one that ``look`` has seen last.
            tiles: those that were sent; all if None.
        """
        if tiles is None:
            self._sent[0][: self.grid.height, : self.grid.width] = frame
            for sent, now in zip(self._sent[1:], self._now, strict=True):
                sent[:] = now
            return
        height, width = self.grid.tile_shape
        for row, column in self.grid.positions(tiles).tolist():
            place = slice(row, row + height), slice(column, column + width)
            self._sent[0][place] = frame[place]
        for level, sent, now in zip(LEVELS[1:], self._sent[1:], self._now, strict=True):
            side = self.grid.side // level
            for row, column in (np.argwhere(tiles) * side).tolist():
                place = slice(row, row + side), slice(column, column + side)
                sent[place] = now[place]

    @property
    def kept(self) -> Pixels:
        """What was sent of each tile last: uint8 [height, width, 3], to be read before the next call."""
        return self._sent[0][: self.grid.height, : self.grid.width]

    def _drifted(self) -> Mask:
        """Look at some rows of tiles more closely, in turn: learn their noise, and return which means have drifted."""
        (rows, columns), parts = self.grid.shape, []
        turn = slice(self._turn * rows // LEARNED_PER_FRAME, (self._turn + 1) * rows // LEARNED_PER_FRAME)
        self._turn = (self._turn + 1) % LEARNED_PER_FRAME
        if not self.noise.known and self._seen < LEARNED_PER_FRAME:
            turn = slice(0, rows)
        self._seen += 1
        drifted = np.zeros((rows, columns), bool)
        if turn.stop == turn.start:
            return drifted
        for level in (1, 2):
            side = self.grid.side // LEVELS[level]
            place = slice(turn.start * side, turn.stop * side)
            # Not in float: OpenCV's difference of bytes cuts at 0.
            difference = cv2.subtract(self._now[level - 1][place], self._sent[level][place], dtype=cv2.CV_16S)
            parts.append(np.asarray(difference, np.float32).reshape(turn.stop - turn.start, side, columns, -1))
        counts = [self._samples[level][turn] for level in (1, 2)]
        squares = [np.einsum("rsck,rsck->rc", part, part) for part in parts]
        self.noise.learn(turn, *(np.sqrt(square / count) for square, count in zip(squares, counts, strict=True)))
        drifted[turn] = np.abs(parts[1].sum(axis=(1, 3)) / counts[1]) > DRIFT
        return drifted


def _lengths(length: int, side: int, level: int) -> npt.NDArray[np.int64]:
    """Return how many samples each tile along one side of a frame has; 1 where there are none, to divide by.

    Args:
        length: of the frame's side, in pixels.
        side: of a tile, in pixels.
        level: pixels that a sample is of.
    """
    begins = np.arange(0, length, side) // level
    return np.clip(length // level - begins, 1, side // level)
