"""python -m bench.overload."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.open_load import NOT_RUN, End, milliseconds, summary
from tests.conftest import ROOT


def test_ends_are_told_apart_by_what_the_server_said() -> None:
    full, late = NOT_RUN
    ends = [End(0, 0.1, ""), End(1, 0.3, ""), End(2, 0.002, full), End(3, 0.5, late), End(4, 0.7, late)]
    told = summary(ends)
    assert told["sent"] == 5
    assert told["answered"] == {"count": 2, "p50_ms": 200.0, "p99_ms": 298.0, "most_ms": 300.0}
    assert {words: one["count"] for words, one in told["refused"].items()} == {full: 1, late: 2}


def test_of_no_requests_nothing_is_told_but_that() -> None:
    assert milliseconds([]) == {"count": 0}


@pytest.mark.slow
@pytest.mark.long
def test_an_overload_is_measured_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.overload", "--seconds", "5", "--out", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    told = json.loads((tmp_path / "overload-cpu.json").read_text())
    assert told["held_per_second"] > 0
    crowd = told["priority_2_in_overload"]
    refused = sum(one["count"] for one in crowd["refused"].values())
    assert crowd["sent"] == crowd["answered"]["count"] + refused
    assert refused, "three times what it holds went in"
    for name in ("priority_1_alone", "priority_1_in_overload", "priority_1_beside_slow_clients"):
        assert told[name]["answered"]["count"] == told[name]["sent"] > 0, f"{name}: none was refused"
    assert told["seconds_until_normal"] >= 0
