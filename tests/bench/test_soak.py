"""python -m bench.soak."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from bench.held import last_to_first_quarter
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("values", "ratio"),
    [
        ([5] * 24, 1.0),
        ([99] * 4 + [10] * 20, 1.0),  # the start is not counted
        ([10] * 4 + list(range(100, 120)), 117 / 102),  # steady growth: medians of the last and first five
        ([10], 1.0),
    ],
    ids=["flat", "a start", "growth", "one"],
)
def test_growth_is_the_last_quarter_of_the_first(values: list[int], ratio: float) -> None:
    samples = [{"bytes": value} for value in values]
    assert last_to_first_quarter(samples, ["bytes"]) == {"bytes": ratio}


@pytest.mark.slow
@pytest.mark.long
def test_a_soak_samples_everything_under_every_kind_of_request_and_draws_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.soak", "--minutes", "1", "--every", "2", "--out", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    told = json.loads((tmp_path / "soak-cpu.json").read_text())
    assert len(told["samples"]) == 30
    for sample in told["samples"]:
        assert sample["resident_bytes"] > 100e6
        assert sample["open_files"] > 50
        assert sample["threads"] > 50
        assert sample["shared_memory_bytes"] > 1e6
    assert len(told["answered"]) == 6
    assert min(told["answered"].values()) > 0
    assert set(told["flat"]) == {"resident_bytes", "open_files", "threads", "shared_memory_bytes"}
    with Image.open(tmp_path / "soak-cpu.png") as picture:
        assert picture.width > 1000
