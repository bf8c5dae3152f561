"""The range of a tensor by its histogram, as ONNX Runtime's HistogramCollector chooses it, in less time."""

from __future__ import annotations

import numpy as np
from onnxruntime.quantization.calibrate import entropy, smooth_distribution

from triton_yolo.calibration.histograms import Histogram

LEVELS = 256  # that entropy weighs a histogram against
PERCENTILE = 99.999


def entropy_range(histogram: Histogram) -> tuple[float, float]:
    """Return the range whose LEVELS levels differ least from the histogram, by Kullback and Leibler's measure.

    It is get_entropy_threshold with NumPy's sums instead of Python's.

    Args:
        histogram: of Histograms.binned.
    """
    counts, edges, low, high, _ = histogram
    middle, below = counts.size // 2, np.concatenate([[0], np.cumsum(counts)])
    divergences, ends = [], []
    for half in range(LEVELS // 2, middle + 1):
        start, end = middle - half, min(middle + half + 1, counts.size)
        inside = counts[start:end]
        wanted = inside.copy()
        wanted[0] += below[start]
        wanted[-1] += below[-1] - below[end]
        width = inside.size // LEVELS
        grouped = inside[: LEVELS * width].reshape(LEVELS, width).sum(1)
        grouped[-1] += inside[LEVELS * width :].sum()
        filled = (wanted[: LEVELS * width] != 0).reshape(LEVELS, width).sum(1)
        made = np.zeros(wanted.size, np.int64)
        made[: LEVELS * width] = np.repeat(np.where(filled, grouped / np.maximum(filled, 1), 0), width)
        one, other = smooth_distribution(wanted), smooth_distribution(made)
        divergences.append(np.inf if one is None or other is None else float(np.float32(entropy(one, other))))
        ends.append((edges[start], edges[end]))
    first, last = ends[int(np.argmin(divergences))]
    return float(max(first, low)), float(min(last, high))


def percentile_range(histogram: Histogram) -> tuple[float, float]:
    """Return the range that leaves out (100 - PERCENTILE) % of the values, half of them on each side.

    It is compute_percentile, for one tensor.

    Args:
        histogram: of Histograms.binned.
    """
    counts, edges, low, high, _ = histogram
    share, cut = np.cumsum(counts / counts.sum()), (100.0 - PERCENTILE) / 200.0
    first, last = (edges[np.searchsorted(share, end)] for end in (cut, 1.0 - cut))
    return float(max(first, low)), float(min(last, high))
