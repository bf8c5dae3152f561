"""Turns pictures that lie in a GPU's memory into training batches: mosaic, the square's symmetries, scale, colour.

Everything is done to a whole batch at once, on the device where the pictures are. A picture is sampled once, straight
from its original pixels, whatever is done to it. Coordinates are in pixels, 0 is the first pixel's left or upper edge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.pictures import SIDE, Picture
from triton_yolo.nms.letterbox import PAD

NEGATIVE = (1, 0, 3, 2, 5, 4)
"""What each class is in a negative, where copper and bare board have changed places: a cut is a bridge there."""

VISIBLE = 0.4
"""A defect is labelled if more than this share of its box is inside the picture."""

SYMMETRIES = torch.tensor(
    [[[a, 0.0], [0.0, b]] for a in (1.0, -1.0) for b in (1.0, -1.0)]
    + [[[0.0, a], [b, 0.0]] for a in (1.0, -1.0) for b in (1.0, -1.0)]
)
"""The eight symmetries of a square, as matrices that turn (x, y) about its centre."""


@dataclass(frozen=True)
class Recipe:
    """How much is done to the pictures.

    Attributes:
        mosaic: share of the batch that is put together from four pictures.
        mosaic_scale, single_scale: range of the factor by which pictures grow.
        aspect: greatest factor by which a picture grows more in one direction than in the other.
        shift: a single picture moves by up to this share of its side.
        exact: share of single pictures that are neither scaled nor moved.
        negative: share of scans that are turned into their negative.
        colour: share of scans whose levels, blur and noise are varied; photos always are.
    """

    mosaic: float
    mosaic_scale: tuple[float, float] = (0.6, 1.5)
    single_scale: tuple[float, float] = (0.7, 1.35)
    aspect: float = 1.25
    shift: float = 0.15
    exact: float = 0.3
    negative: float = 0.35
    colour: float = 0.3


@dataclass(frozen=True)
class Pool:
    """Pictures in the device's memory.

    Attributes:
        images: uint8 RGB [N, 3, SIDE, SIDE].
        boxes: x1, y1, x2, y2 in pixels [N, T, 4].
        classes: [N, T], -1 where a picture has no more boxes.
        scan: whether a picture is a binary scan [N].
    """

    images: Tensor
    boxes: Tensor
    classes: Tensor
    scan: Tensor

    @classmethod
    def of(cls, pictures: Sequence[Picture], scan: Sequence[bool], device: torch.device | str) -> Pool:
        """Copy pictures to a device."""
        most = max(len(p.classes) for p in pictures)
        boxes = np.zeros((len(pictures), most, 4), np.float32)
        classes = np.full((len(pictures), most), -1, np.int64)
        images = torch.empty((len(pictures), 3, SIDE, SIDE), dtype=torch.uint8, device=device)
        for k, p in enumerate(pictures):
            boxes[k, : len(p.boxes)], classes[k, : len(p.classes)] = p.boxes, p.classes
            images[k] = torch.from_numpy(p.image)
        return cls(
            images,
            torch.from_numpy(boxes).to(device),
            torch.from_numpy(classes).to(device),
            torch.tensor(list(scan), device=device),
        )


@dataclass(frozen=True)
class Plan:
    """Where the pictures of a batch go: four are tiles of a canvas twice as wide and high, and a window of it is seen.

    Attributes:
        mosaic: whether all four tiles are used, or the first alone [B].
        symmetry: what is done to each tile, a number into SYMMETRIES [B, 4].
        scale: output pixels in a canvas pixel, horizontally and vertically [B, 2].
        centre: x, y of the window's centre on the canvas [B, 2].
        negative: whether a tile is turned into its negative, where it is a scan [B, 4].
    """

    mosaic: Tensor
    symmetry: Tensor
    scale: Tensor
    centre: Tensor
    negative: Tensor


def draw_plan(batch: int, recipe: Recipe, random: torch.Generator) -> Plan:
    """Draw what is done to each picture of a batch, on the generator's device."""
    device = random.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=random, device=device)

    mosaic = uniform(batch) < recipe.mosaic
    low, high = (
        torch.where(mosaic, many, one) for many, one in zip(recipe.mosaic_scale, recipe.single_scale, strict=True)
    )
    scale = torch.exp(torch.log(low) + uniform(batch) * torch.log(high / low))
    stretch = torch.exp((uniform(batch) - 0.5) * math.log(recipe.aspect))
    scale = torch.stack([scale * stretch, scale / stretch], 1)
    slack = (SIDE - SIDE / (2 * scale)).clamp(min=0)  # how far a mosaic's window can go from the canvas' middle
    move = 2 * uniform(batch, 2) - 1
    centre = torch.where(mosaic[:, None], SIDE + move * slack, SIDE / 2 + move * recipe.shift * SIDE)
    exact = (~mosaic & (uniform(batch) < recipe.exact))[:, None]
    return Plan(
        mosaic,
        (uniform(batch, 4) * len(SYMMETRIES)).long(),
        torch.where(exact, 1.0, scale),
        torch.where(exact, SIDE / 2, centre),
        uniform(batch, 4) < recipe.negative,
    )


def place_images(tiles: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """Sample the output pictures, bilinear and without antialiasing.

    Args:
        tiles: uint8 RGB [B, 4, 3, SIDE, SIDE], row by row on the canvas.
        plan: where they go.

    Returns:
        float32 RGB 0 to 255 [B, 3, SIDE, SIDE], and which of its pixels show a picture [B, 1, SIDE, SIDE].
    """
    batch, device = len(tiles), tiles.device
    canvas = tiles.reshape(batch, 2, 2, 3, SIDE, SIDE).permute(0, 3, 1, 4, 2, 5)
    canvas = canvas.reshape(batch, 3, 2 * SIDE, 2 * SIDE).float()
    steps = torch.arange(SIDE, device=device) + 0.5 - SIDE / 2
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    seen = torch.stack([x, y], -1) / plan.scale[:, None, None] + plan.centre[:, None, None]
    inside = ((seen >= 0) & (seen < 2 * SIDE)).all(-1)
    column, row = (seen >= SIDE).long().unbind(-1)
    tile = 2 * row + column
    inside &= plan.mosaic[:, None, None] | (tile == 0)
    corner = torch.stack([column, row], -1) * SIDE
    matrices = SYMMETRIES.to(device)[plan.symmetry]  # [B, 4, 2, 2]
    which = torch.arange(batch, device=device)[:, None, None]
    # A symmetry's inverse is its transpose, so the point as a row times the matrix goes back to the original. Written
    # out, since a matrix product for each pixel takes far longer.
    there = seen - corner - SIDE / 2
    original = (there[..., None] * matrices[which, tile]).sum(-2) + SIDE / 2
    original = original.clamp(0.5, SIDE - 0.5)  # no blending with the tile beside it
    grid = (original + corner) / SIDE - 1
    return functional.grid_sample(canvas, grid, mode="bilinear", align_corners=False), inside[:, None]


def place_boxes(boxes: Tensor, classes: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """Take the boxes along.

    Args:
        boxes: x1, y1, x2, y2 in pixels of the tiles [B, 4, T, 4].
        classes: [B, 4, T], -1 for no box.
        plan: where the tiles go.

    Returns:
        Boxes in pixels of the output, cut at its edges [B, 4 * T, 4], and classes [B, 4 * T]: -1 for no box, and for
        one of which no more than VISIBLE is inside.
    """
    batch, device = len(boxes), boxes.device
    matrices = SYMMETRIES.to(device)[plan.symmetry]
    points = boxes.reshape(batch, 4, -1, 2) - SIDE / 2
    points = torch.einsum("bkij,bktj->bkti", matrices, points) + SIDE / 2
    corner = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], device=device) * SIDE  # x, y of each tile
    points = points + corner[:, None]
    points = (points - plan.centre[:, None, None]) * plan.scale[:, None, None] + SIDE / 2
    ends = points.reshape(batch, -1, 2, 2)
    whole = torch.cat([ends.amin(2), ends.amax(2)], -1)
    cut = whole.clamp(0, SIDE)
    area, left = ((b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1]) for b in (whole, cut))
    used = plan.mosaic[:, None] | (torch.arange(4, device=device) == 0)
    kept = (classes >= 0) & used[..., None]
    kept = kept.reshape(batch, -1) & (left > VISIBLE * area)
    return cut, torch.where(kept, classes.reshape(batch, -1), -1)


def vary_colour(images: Tensor, strength: Tensor, random: torch.Generator) -> Tensor:
    """Vary exposure, contrast, tint, saturation, sharpness and noise.

    Args:
        images: RGB 0 to 255 [B, 3, H, W].
        strength: 0 (leave alone) to 1, for each picture [B].
        random: source of every choice.

    Returns:
        RGB 0 to 255 [B, 3, H, W].
    """
    batch, device = len(images), images.device

    def signed(*shape: int) -> Tensor:
        numbers = 2 * torch.rand(batch, *shape, generator=random, device=device) - 1
        return numbers * strength.reshape(-1, *[1] * len(shape))

    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (1 + 0.6 * signed(1, 1, 1))
    tint = 1 + 0.12 * signed(3, 1, 1)
    middle = images.mean((1, 2, 3), keepdim=True)
    images = (images - middle) * tint * (1 + 0.35 * signed(1, 1, 1)) + middle * (1 + 0.35 * signed(1, 1, 1))
    soft = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    images = images + (soft - images) * signed(1, 1, 1).clamp(-0.3, 0.8)  # negative amounts sharpen
    noise = torch.randn(images.shape, generator=random, device=device)
    return (images + noise * 8 * signed(1, 1, 1).clamp(min=0)).clamp(0, 255)


def make_batch(pool: Pool, chosen: Tensor, recipe: Recipe, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Make one training batch.

    Args:
        pool: the pictures.
        chosen: numbers of four pictures for each of the batch [B, 4]; the first is used alone where there is no mosaic.
        recipe: how much is done to them.
        random: source of every choice, on the pool's device.

    Returns:
        RGB 0 to 1 [B, 3, SIDE, SIDE], and the labels [B, T, 5]: class and x1, y1, x2, y2 as shares of the side; zeros
        where a picture has fewer boxes than the batch's most.
    """
    plan = draw_plan(len(chosen), recipe, random)
    tiles, classes = pool.images[chosen], pool.classes[chosen]
    negative = plan.negative & pool.scan[chosen]
    tiles = torch.where(negative[..., None, None, None], 255 - tiles, tiles)
    swapped = torch.tensor(NEGATIVE, device=classes.device)[classes.clamp(min=0)]
    classes = torch.where(negative[..., None] & (classes >= 0), swapped, classes)

    images, inside = place_images(tiles, plan)
    plain = torch.rand(len(chosen), generator=random, device=images.device) >= recipe.colour
    images = vary_colour(images, 1 - (pool.scan[chosen[:, 0]] & plain).float(), random)
    images = torch.where(inside, images, PAD) / 255

    boxes, classes = place_boxes(pool.boxes[chosen], classes, plan)
    order = (classes < 0).byte().argsort(dim=1, stable=True)[:, : max(int((classes >= 0).sum(1).max()), 1)]
    classes = classes.gather(1, order)
    boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4)) / SIDE
    there = (classes >= 0)[..., None]
    return images, torch.cat([classes[..., None].float(), boxes], -1) * there
