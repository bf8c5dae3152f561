"""Histograms of tensors, filled in one pass: bins grow with the values, so that their extremes need not be known."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from triton_yolo.calibration.errors import CalibrationError
from triton_yolo.calibration.parallel import on_all_cores

BINS = 1024  # of a histogram from -max to max
FINE = 2**14  # narrower ones on each side of zero, which those are made of
LEAST = -100  # exponent of the narrowest range

Histogram = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], np.float32, np.float32, np.float32]


class Histograms:
    """Counts of the values of several tensors.

    A tensor is binned from -2^e to 2^e. Where a larger value comes, e grows and neighbouring bins are added up, so the
    counts do not depend on the order of the values.

    Attributes:
        tensors: names.
        counting: fill the histograms; else only the extremes.
        pictures: how many have been added.
    """

    def __init__(self, tensors: Sequence[str], counting: bool) -> None:
        self.tensors, self.counting, self.pictures = tuple(tensors), counting, 0
        self.low = np.full(len(tensors), np.inf, np.float32)
        self.high = np.full(len(tensors), -np.inf, np.float32)
        self.exponents = np.full(len(tensors), LEAST, np.int64)
        self.counts = np.zeros((len(tensors), 2 * FINE if counting else 0), np.int64)

    def add(self, values: Sequence[npt.NDArray[np.float32]]) -> None:
        """Add what the tensors hold for one picture.

        Raises:
            CalibrationError: a value is infinite or undefined.
        """
        for _ in on_all_cores(self._add, range(len(self.tensors)), values):
            pass
        self.pictures += 1

    def _add(self, number: int, value: npt.NDArray[np.float32]) -> None:
        low, high = value.min(), value.max()
        if not np.isfinite([low, high]).all():
            raise CalibrationError(
                f"the network computes infinities or NaN from these images, first in {self.tensors[number]}"
            )
        self.low[number], self.high[number] = min(self.low[number], low), max(self.high[number], high)
        if not self.counting:
            return
        exponent = int(np.frexp(np.maximum(-low, high))[1])
        for _ in range(exponent - self.exponents[number]):
            if not self.counts[number].any():
                break
            half = self.counts[number].reshape(-1, 2).sum(1)
            self.counts[number] = np.pad(half, FINE // 2)
        self.exponents[number] = exponent = max(exponent, int(self.exponents[number]))
        scaled = value.ravel() * np.float32(FINE / 2.0**exponent)
        np.floor(scaled, out=scaled)
        index = scaled.astype(np.int32)
        index += FINE
        self.counts[number] += np.bincount(index, minlength=2 * FINE)

    def extremes(self) -> dict[str, tuple[float, float]]:
        """Return the lowest and the highest value of each tensor."""
        return {name: (float(self.low[i]), float(self.high[i])) for i, name in enumerate(self.tensors)}

    def binned(self) -> dict[str, Histogram]:
        """Return histograms as ONNX Runtime's collector makes them.

        Returns:
            by tensor, without those that are zero everywhere: counts, in which the least and the highest value count
            once more, so that a percentile of few values leaves neither out lightly; edges from -max to max; least and
            highest value; and max.
        """
        found = {}
        for number, name in enumerate(self.tensors):
            low, high = self.low[number], self.high[number]
            most = np.maximum(-low, high)
            if most > 0:
                fine = np.arange(-FINE, FINE + 1) * (2.0 ** self.exponents[number] / FINE)
                below = np.concatenate([[0], np.cumsum(self.counts[number])])
                edges = np.linspace(-most, most, BINS + 1, dtype=np.float32)
                parts = np.rint(np.interp(edges, fine, below)).astype(np.int64)
                parts[0], parts[-1] = 0, below[-1]
                ends, _ = np.histogram([low, high], BINS, (-most, most))
                found[name] = np.diff(parts) + ends, edges, low, high, most
        return found

    def to_bytes(self) -> bytes:
        """Return the state, to go on with it later."""
        file = io.BytesIO()
        np.savez(
            file,
            pictures=self.pictures,
            low=self.low,
            high=self.high,
            exponents=self.exponents,
            counts=self.counts,
        )
        return file.getvalue()

    def resume(self, content: bytes) -> None:
        """Go on with a state of the same tensors.

        Args:
            content: of to_bytes.

        Raises:
            ValueError: it is no state, or one of other tensors.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as state:
                arrays = {name: state[name] for name in ("low", "high", "exponents", "counts")}
                pictures = int(state["pictures"])
        except Exception as error:  # whatever NumPy and zipfile say of damaged files
            raise ValueError(str(error)) from None
        if any(array.shape != getattr(self, name).shape for name, array in arrays.items()):
            raise ValueError("it has other tensors")
        self.pictures = pictures
        for name, array in arrays.items():
            setattr(self, name, array)
