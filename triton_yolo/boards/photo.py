"""The look of a camera's picture: solder mask, bare pads, drilled holes, legend, light and the sensor's noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from triton_yolo.boards.canvas import Canvas

Image = NDArray[np.float32]
Colour = tuple[float, float, float]

MASKS: tuple[tuple[Colour, Colour, float], ...] = (
    ((14, 82, 50), (56, 142, 84), 0.42),
    ((10, 66, 46), (44, 124, 80), 0.22),
    ((30, 92, 44), (84, 152, 72), 0.1),
    ((18, 46, 112), (58, 104, 174), 0.11),
    ((120, 22, 28), (184, 68, 56), 0.08),
    ((24, 26, 30), (84, 86, 84), 0.07),
)
"""Colours of the solder mask over laminate and over copper, RGB, and how often each is drawn."""

FINISHES: tuple[tuple[Colour, float], ...] = (
    ((228, 188, 112), 0.5),
    ((200, 202, 200), 0.35),
    ((216, 148, 104), 0.15),
)
"""Colours of bare copper (gold, tin, copper), and how often each is drawn."""

LAMINATE: Colour = (104, 100, 58)
"""Colour of the board where the mask is open and there is no copper."""

LEGEND: Colour = (230, 231, 224)
"""Colour of the printed legend."""


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> Image:
    """Return random numbers [H, W] of deviation about 1 that change over `cell` pixels."""
    h, w = max(2, round(height / cell) + 1), max(2, round(width / cell) + 1)
    coarse = rng.standard_normal((h, w), np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _blurred(image: Image, sigma: float) -> Image:
    """Return an image blurred by a lens."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def _over(picture: Image, cover: Image, colour: Image | Colour) -> None:
    """Lay a colour over a picture where `cover` (0 to 1) says, in place."""
    covered = np.flatnonzero(cover)  # a small part of the picture
    pixels = picture.reshape(-1, 3)
    paint = np.asarray(colour, np.float32)
    under = pixels[covered]
    paint = paint.reshape(-1, 3)[covered] if paint.ndim == 3 else paint
    pixels[covered] = under + cover.reshape(-1, 1)[covered] * (paint - under)


def _slope(surface: Image, angle: float) -> Image:
    """Return how steeply a surface [H, W] rises towards the light at an angle."""
    across, down = cv2.Sobel(surface, cv2.CV_32F, 1, 0), cv2.Sobel(surface, cv2.CV_32F, 0, 1)
    return np.asarray(np.cos(angle) * across + np.sin(angle) * down, np.float32)


def _moved(cover: Image, dx: float, dy: float) -> Image:
    """Return an image [H, W] shifted by some pixels."""
    size = (cover.shape[1], cover.shape[0])
    return np.asarray(cv2.warpAffine(cover, np.array([[1, 0, dx], [0, 1, dy]], np.float32), size), np.float32)


def render(rng: np.random.Generator, canvas: Canvas, copper: NDArray[np.uint8]) -> Image:
    """Paint a board in even light.

    Args:
        rng: source of its colours and grain.
        canvas: the board, for the openings in its mask, its holes and its legend.
        copper: coverage of copper with its defects [H, W].

    Returns:
        RGB [H, W, 3], 0 to 255.
    """
    height, width = copper.shape
    s = canvas.scale
    angle = rng.uniform(0, 2 * np.pi)
    metal, opening = copper.astype(np.float32) / 255, canvas.exposed.astype(np.float32) / 255
    holes = canvas.holes.astype(np.float32) / 255
    under, over, _ = MASKS[int(rng.choice(len(MASKS), p=[share for _, _, share in MASKS]))]
    difference = np.asarray(over, np.float32) - np.asarray(under, np.float32)
    picture = _blurred(metal, 0.45 * s)[..., None] * difference
    picture += np.asarray(under, np.float32)
    # the mask lies over the copper like snow: its slopes catch the light or are in shadow
    relief = np.clip(_slope(_blurred(metal, 0.8 * s), angle) * s, -1.5, 1.5)
    relief *= 0.11
    relief += 1.0
    relief += 0.018 * smooth_noise(rng, height, width, 1.7 * s) + 0.02 * smooth_noise(rng, height, width, 60 * s)
    picture *= relief[..., None]

    finish = FINISHES[int(rng.choice(len(FINISHES), p=[share for _, share in FINISHES]))][0]
    _over(picture, opening, LAMINATE)
    sheen = 1 + 0.06 * smooth_noise(rng, height, width, 26 * s) + 0.045 * smooth_noise(rng, height, width, 1.4 * s)
    pads = _blurred(metal * (1 - holes), 1.3 * s)
    sheen += np.clip(_slope(pads, angle) * s, -1, 1) * 0.2 - 0.25 * (1 - pads)
    _over(picture, opening * metal, np.asarray(finish, np.float32) * sheen[..., None])

    legend = canvas.silk.astype(np.float32) / 255 * (1 - cv2.dilate(opening, np.ones((3, 3), np.uint8)))
    ink = np.clip(0.9 + 0.08 * smooth_noise(rng, height, width, 2 * s), 0, 1)
    _over(picture, np.asarray(legend * ink, np.float32), LEGEND)
    _over(picture, holes, 0.34 * np.asarray(finish, np.float32))  # the lit wall of the hole, then its dark depth
    depth = np.minimum(holes, _moved(holes, 1.3 * s * np.cos(angle), 1.3 * s * np.sin(angle)))
    _over(picture, depth, (17, 16, 16))
    return picture


def light_field(rng: np.random.Generator, height: int, width: int) -> Image:
    """Return how bright the camera sees each place and colour [H, W, 3]: a lamp to one side, vignette, colour cast."""
    ys, xs = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    light = 1.04 + rng.uniform(0.02, 0.11) * (np.cos(angle) * xs + np.sin(angle) * ys)
    light -= rng.uniform(0.05, 0.16) * (xs**2 + ys**2) ** 1.3 / 2
    light += 0.02 * smooth_noise(rng, height, width, max(height, width) / 3)
    cast = rng.uniform(0.96, 1.04, 3) * rng.uniform(0.95, 1.1)
    return np.asarray(light[..., None] * cast, np.float32)


def photo_look(rng: np.random.Generator, canvas: Canvas, copper: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Photograph a board: as `render`, with a lamp, a lens and a sensor.

    Args:
        rng: source of colours, light and noise.
        canvas: the board.
        copper: coverage of copper with its defects [H, W].

    Returns:
        RGB [H, W, 3].
    """
    height, width = copper.shape
    picture = render(rng, canvas, copper)
    picture *= light_field(rng, height, width)
    picture = _blurred(picture, rng.uniform(0.35, 0.65) * canvas.scale)
    noise = rng.uniform(1.2, 3.4)
    picture += rng.standard_normal(picture.shape, np.float32) * (noise * (0.6 + picture / 320))
    return np.clip(picture, 0, 255).astype(np.uint8)
