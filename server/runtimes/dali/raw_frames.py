"""What raw frames must be like before DALI sees them: one frame that it refuses fails a whole batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RGB = "preprocess_frames"  # the model for frames that need no conversion


class FrameError(ValueError):
    """Frames are not in the format that their model takes."""


@dataclass(frozen=True)
class Layout:
    """How a frame lies in memory.

    Attributes:
        description: what is expected, for the message where it is not so.
        rows: what the number of rows must be a multiple of.
        columns: what the number of columns must be a multiple of.
    """

    description: str
    rows: int
    columns: int


LAYOUTS = {  # by the name of the model
    "preprocess_bayer": Layout("Bayer [H, W] with an even H and W", 2, 2),
    "preprocess_yuyv": Layout("YUYV [H, W, 2] with an even W", 1, 2),
    "preprocess_nv12": Layout("NV12 [H * 3/2, W] with an even H and W", 3, 2),
}


def check_frames(model: str, shape: Sequence[int]) -> None:
    """Refuse frames of a shape that a model cannot take.

    Args:
        model: name of the model.
        shape: of one frame; Triton has checked the number of dimensions and of channels.

    Raises:
        FrameError: says the shape and what is expected.
    """
    if not math.prod(shape):
        raise FrameError(f"frames has no pixels: {tuple(shape)}")
    layout = LAYOUTS.get(model)
    if layout and (shape[0] % layout.rows or shape[1] % layout.columns):
        raise FrameError(f"frames must be {layout.description}, got {list(shape)}")


def check_blue_positions(positions: npt.NDArray[np.int32]) -> None:
    """Refuse positions outside of the first 2 x 2 pixels.

    Args:
        positions: int32 [N, 2].

    Raises:
        FrameError: says the first that is wrong.
    """
    for position in positions:
        if ((position < 0) | (position > 1)).any():
            raise FrameError(
                "blue_position must be the row and column of the blue pixel among the first 2 x 2, each 0 or 1, "
                f"got {position.tolist()}"
            )
