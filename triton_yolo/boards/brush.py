"""The strokes that defects are drawn with: solid, hatched or speckled, with uneven width."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BITS = 4
"""Fractional bits of the coordinates given to OpenCV."""


def _smooth(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> NDArray[np.float32]:
    """Return random numbers of mean 0 and deviation 1 that change over `sigma` pixels."""
    noise = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), max(sigma, 0.3))
    return np.asarray(noise / max(float(noise.std()), 1e-6), np.float32)


def _dots(image: NDArray[np.uint8], points: NDArray[np.float64], radii: NDArray[np.float64]) -> None:
    for (x, y), radius in zip(points, radii, strict=True):
        one = 1 << BITS
        cv2.circle(image, (round(x * one), round(y * one)), max(round(radius * one), 8), (255,), -1, cv2.LINE_AA, BITS)


def brush(
    rng: np.random.Generator,
    shape: tuple[int, int],
    points: NDArray[np.float64],
    width: float,
    scale: float,
    grainy: bool,
) -> NDArray[np.uint8]:
    """Draw one stroke.

    Args:
        rng: source of its unevenness and of its texture.
        shape: height and width of the result.
        points: the stroke's line [N, 2], in pixels.
        width: of the stroke, in pixels.
        scale: pixels in a unit.
        grainy: hatched or speckled more often, as copper removed in DeepPCB is.

    Returns:
        Coverage [H, W], 0 to 255.
    """
    out = np.zeros(shape, np.uint8)
    length = float(np.hypot(*np.diff(points, axis=0).T).sum())
    count = max(2, round(length / max(0.35 * width, 1.0)) + 1)
    t, own = np.linspace(0, 1, count), np.linspace(0, 1, len(points))
    line = np.stack([np.interp(t, own, points[:, 0]), np.interp(t, own, points[:, 1])], 1)
    texture = rng.random()
    if texture < (0.22 if grainy else 0.04) and width > 3 * scale and length > 3 * scale:
        along = np.diff(line, axis=0, append=2 * line[-1:] - line[-2:-1])
        along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)[:, None]
        across = np.stack([-along[:, 1], along[:, 0]], 1)
        threads = int(rng.integers(2, 5))
        for k in range(threads):
            shift = (k / (threads - 1) - 0.5) * width + rng.normal(0, 0.12 * width, count)
            thread = (line + across * shift[:, None]) * (1 << BITS)
            thick = max(1, round(rng.uniform(1.0, 2.4) * scale))
            cv2.polylines(out, [np.round(thread).astype(np.int32)], False, (255,), thick, cv2.LINE_AA, BITS)
        holes = _smooth(rng, shape, 0.6 * scale) > 1.6
        out[holes] = 0
        return out
    wobble = np.interp(t, np.linspace(0, 1, 6), rng.normal(0, 0.13, 6))
    taper = 1.0 - (rng.uniform(0.3, 0.75) * t if rng.random() < 0.25 else 0.0)
    radii = np.maximum(width / 2 * (1 + wobble) * taper, 0.55 * scale)
    _dots(out, line + rng.normal(0, 0.05 * width, line.shape), radii)
    if texture > (0.78 if grainy else 0.93):
        out[_smooth(rng, shape, 0.75 * scale) > rng.uniform(0.5, 1.2)] = 0
    elif texture > 0.6:
        # a rough outline
        soft = cv2.GaussianBlur(out, (0, 0), 0.7 * scale).astype(np.float32)
        soft += 45 * _smooth(rng, shape, 0.8 * scale) * (out > 0)
        out = np.clip((soft - 127) * (2.0 / max(scale, 0.5)) + 127, 0, 255).astype(np.uint8)
    return out
