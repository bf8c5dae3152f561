"""Histograms in one pass, and the ranges that are chosen by them, against NumPy and ONNX Runtime."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import HistogramCollector

from triton_yolo.calibration.errors import CalibrationError
from triton_yolo.calibration.histograms import BINS, Histograms
from triton_yolo.calibration.thresholds import LEVELS, PERCENTILE, entropy_range, percentile_range

RNG = np.random.default_rng(0)
PICTURES = [
    [
        (RNG.normal(size=(1, 4, 40, 40)) * 3**number).astype(np.float32),  # wider in each
        np.maximum(RNG.normal(size=(1, 900)), 0).astype(np.float32),  # half of it zero
        RNG.gamma(0.4, 0.02, (1, 8, 300)).astype(np.float32),
    ]
    for number in range(4)
]
TENSORS = ("normal", "positive", "skewed")


def filled(pictures: list[list[np.ndarray]] = PICTURES) -> Histograms:
    histograms = Histograms(TENSORS, counting=True)
    for values in pictures:
        histograms.add(values)
    return histograms


def test_a_histogram_is_numpys_of_all_values_but_for_those_at_the_edges_of_bins() -> None:
    found = filled().binned()
    for number, name in enumerate(TENSORS):
        values = np.concatenate([picture[number].ravel() for picture in PICTURES])
        counts, edges, low, high, most = found[name]
        wanted, _ = np.histogram([*values, low, high], BINS, (-most, most))
        np.testing.assert_allclose(edges, np.linspace(-most, most, BINS + 1), rtol=1e-5, atol=1e-6 * most)
        assert (low, high, most) == (values.min(), values.max(), np.abs(values).max())
        assert counts.sum() == wanted.sum() == values.size + 2
        np.testing.assert_allclose(np.cumsum(counts[::-1])[:300], np.cumsum(wanted[::-1])[:300], atol=2)
        assert np.abs(np.cumsum(counts) - np.cumsum(wanted)).max() <= 0.002 * values.size, name


def test_the_order_of_the_pictures_does_not_matter() -> None:
    np.testing.assert_array_equal(filled().counts, filled(PICTURES[::-1]).counts)


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_the_ranges_by_a_histogram_are_those_of_onnx_runtime(method: str) -> None:
    histograms = filled().binned()
    collector = HistogramCollector(method, False, BINS, LEVELS, PERCENTILE, "same")
    collector.histogram_dict = dict(histograms)
    with contextlib.redirect_stdout(io.StringIO()):
        wanted = collector.compute_collection_result()
    choose = {"entropy": entropy_range, "percentile": percentile_range}[method]
    for name, histogram in histograms.items():
        assert choose(histogram) == tuple(map(float, wanted[name][:2])), name


def test_what_goes_on_with_a_state_comes_to_the_same() -> None:
    first = filled(PICTURES[:2])
    later = Histograms(TENSORS, counting=True)
    later.resume(first.to_bytes())
    assert later.pictures == 2
    for values in PICTURES[2:]:
        later.add(values)
    np.testing.assert_array_equal(later.counts, filled().counts)
    assert later.extremes() == filled().extremes()


@pytest.mark.parametrize("other", [Histograms(TENSORS[:2], True), Histograms(TENSORS, False)])
def test_a_state_of_other_tensors_and_a_damaged_one_are_refused(other: Histograms) -> None:
    state = filled().to_bytes()
    for content in (other.to_bytes(), b"", b"no state", state[: len(state) // 2]):
        with pytest.raises(ValueError):
            filled().resume(content)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_infinite_and_undefined_values_are_an_error_that_names_the_tensor(value: float) -> None:
    damaged = [PICTURES[0][0], np.array([1, value], np.float32), PICTURES[0][2]]
    with pytest.raises(CalibrationError, match=r"infinities or NaN from these images, first in positive$"):
        filled([damaged])
