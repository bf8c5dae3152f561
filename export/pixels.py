"""What a network was trained to see: the order of its channels, and how grey levels become its numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from triton_yolo.export.errors import ExportError

RANGES = {"0-1": 255.0, "0-255": 1.0}  # grey levels that make up 1
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class PixelFormat:
    """The network's input is (grey level - mean) / std, channel by channel.

    Attributes:
        order: of the channels.
        mean: in grey levels, 0..255, in that order.
        std: in grey levels, 0..255, in that order.
    """

    order: Literal["rgb", "bgr"]
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)

    @classmethod
    def parse(cls, text: str, mean: str | None = None, std: str | None = None) -> PixelFormat:
        """Read what the command line takes.

        Args:
            text: order and range, as in "rgb-0-1" or "bgr-0-255".
            mean: three numbers of that range, in that order, with commas between; they are subtracted first.
            std: three numbers of that range; the difference is divided by them.

        Raises:
            ExportError: one of them has another form.
        """
        order, _, span = text.partition("-")
        if order not in ("rgb", "bgr") or span not in RANGES:
            raise ExportError(f"--input must be one of rgb-0-1, bgr-0-1, rgb-0-255 or bgr-0-255, got {text!r}")
        levels = RANGES[span]
        means, deviations = (
            _triple("--mean", "0,0,0" if mean is None else mean),
            _triple("--std", "1,1,1" if std is None else std),
        )
        if min(deviations) <= 0:
            raise ExportError(f"--std must be above 0, got {std!r}")
        r, g, b = (value * levels for value in means)
        x, y, z = (value * levels for value in deviations)
        return cls(order, (r, g, b), (x, y, z))  # type: ignore[arg-type]  # mypy does not see that order is one of two

    def __str__(self) -> str:
        """Return what --input takes, followed by --mean and --std if they are not those of a range."""
        for name, levels in RANGES.items():
            if self.mean == (0.0,) * 3 and self.std == (levels,) * 3:
                return f"{self.order}-{name}"
        mean, std = (",".join(f"{value:g}" for value in triple) for triple in (self.mean, self.std))
        return f"{self.order}-0-255 --mean {mean} --std {std}"

    def apply(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Compute the network's input; the reference for the served graph.

        Args:
            pixels: uint8 [N, 3, H, W], RGB.

        Returns:
            float32 [N, 3, H, W].
        """
        ordered = pixels[:, ::-1] if self.order == "bgr" else pixels
        mean, std = (np.array(triple, np.float64)[:, None, None] for triple in (self.mean, self.std))
        result: npt.NDArray[np.float32] = ((ordered - mean) / std).astype(np.float32)
        return result


RGB01 = PixelFormat("rgb", std=(255.0, 255.0, 255.0))
BGR255 = PixelFormat("bgr")


def _triple(option: str, text: str) -> Triple:
    try:
        a, b, c = map(float, text.split(","))
    except ValueError:
        a = b = c = math.nan
    if not all(map(math.isfinite, (a, b, c))):
        raise ExportError(f"{option} takes three numbers with commas between, got {text!r}")
    return a, b, c
