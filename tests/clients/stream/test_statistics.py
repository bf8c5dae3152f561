"""Quantiles of latencies from a histogram of a fixed size."""

from __future__ import annotations

import numpy as np
import pytest

from triton_yolo.clients.stream.frames import WHOLE, Result, ResultState, Sent
from triton_yolo.clients.stream.statistics import CameraStatistics, Latencies
from triton_yolo.clients.stream.verdict import Verdict

RANDOM = np.random.default_rng(0)


def collected(values: np.ndarray) -> Latencies:
    latencies = Latencies()
    for value in values:
        latencies.add(float(value))
    return latencies


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.lognormal(3, 1, 3000),  # as latencies are
        RANDOM.uniform(0.02, 2, 3000),
        RANDOM.uniform(900, 90_000, 3000),
        np.array([5.0]),
        np.full(100, 33.3),
    ],
)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1.0])
def test_quantiles_are_within_one_percent(values: np.ndarray, share: float) -> None:
    expected = np.quantile(values, share, method="inverted_cdf")
    assert collected(values).quantile(share) == pytest.approx(expected, rel=0.01)


def test_the_deviation_is_that_of_the_values() -> None:
    values = RANDOM.lognormal(3, 1, 3000)
    assert collected(values).as_dict()["std"] == pytest.approx(values.std(), rel=1e-3)


def test_cameras_together_are_as_one_with_all_latencies() -> None:
    parts = [RANDOM.lognormal(mean, 1, 500) for mean in (1, 3, 5)]
    together = Latencies.together(collected(part) for part in parts)
    assert together.as_dict() == pytest.approx(collected(np.concatenate(parts)).as_dict())


def test_values_beyond_the_histogram_are_in_its_first_and_last_bin() -> None:
    assert collected(np.array([0.0])).quantile(1) == pytest.approx(0.01)
    assert collected(np.array([1e9])).quantile(1) == pytest.approx(1e5)


def test_no_latencies_have_no_quantiles() -> None:
    assert Latencies().quantile(0.5) is None
    assert Latencies.together([]).as_dict() == {"p50": None, "p99": None, "std": None}


def test_what_is_sent_is_compared_with_raw_and_with_coded_frames() -> None:
    statistics, nothing = CameraStatistics(), np.empty((0, 4), np.int32)
    assert "sent" not in statistics.as_dict()
    statistics.sent(Sent("nothing", 0, nothing), 1000)
    assert statistics.as_dict()["sent"]["share_of_coded"] is None  # nobody knows yet how large such a frame is
    for kind, nbytes in (("coded frame", 90), ("coded frame", 110), ("coded tiles", 40), (WHOLE, 1000)):
        statistics.sent(Sent(kind, nbytes, nothing), 1000)
    assert statistics.as_dict()["sent"] == {
        "frames": {"nothing": 1, "coded frame": 2, "coded tiles": 1, "whole frame": 1},
        "shares": {"nothing": 0.2, "coded frame": 0.4, "coded tiles": 0.2, "whole frame": 0.2},
        "bytes": 1240,
        "bytes_per_frame": 248,
        "raw_bytes": 5000,
        "share_of_raw": 0.248,
        "coded_frame_bytes": 100,
        "share_of_coded": 2.48,
    }


def test_boards_are_counted_by_their_verdicts_where_there_are_any() -> None:
    statistics = CameraStatistics()
    assert "boards" not in statistics.as_dict()
    statistics.boards.update([Verdict.FAIL, Verdict.PASS, Verdict.FAIL])
    assert statistics.as_dict()["boards"] == {"pass": 1, "fail": 2, "not_inspected": 0}


def test_only_inspected_frames_have_latencies() -> None:
    statistics = CameraStatistics()
    statistics.seen(100)
    statistics.judged(Result("a", 0, ResultState.INSPECTED, latency_ms=10))
    statistics.judged(Result("a", 1, ResultState.LATE))
    assert statistics.states == {ResultState.INSPECTED: 1, ResultState.LATE: 1}
    content = statistics.as_dict()
    assert content["latency_ms"]["p50"] == pytest.approx(10, rel=0.01)
    assert content["bytes_per_frame"] == 100
