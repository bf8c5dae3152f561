"""python -m bench.sinks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.sinks import WAYS, summary
from tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.long
def test_a_replay_writes_what_a_line_would_write(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.sinks", "--out", str(tmp_path), "--seconds", "4", "--rounds", "1"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr

    content = json.loads((tmp_path / "sinks-rgb.json").read_text())

    assert list(content["ways"]) == list(WAYS)
    for way, measured in content["ways"].items():
        sinks = measured["sinks"]
        assert measured["frames"] == 160
        assert all(sink["missed"] == sink["lost"] == 0 for sink in sinks.values())
        assert ("log" in sinks) == ("log" in way)
        assert ("records" in sinks) == ("picture" in way)
        if "log" in sinks:
            assert 0 < sinks["log"]["written"] < 160  # some frames fail, and some do not
        if "records" in sinks:
            assert sinks["records"]["pictures"] == sinks["records"]["wanted"] > 0


def test_what_the_first_way_takes_is_taken_off() -> None:
    measured = {"a": [{"share": share, "of": {}} for share in (0.1, 0.3, 0.2)], "b": [{"share": 0.5, "of": {"n": 1}}]}

    assert summary(measured) == {"a": {"share_of_a_core": 0.0}, "b": {"share_of_a_core": 0.3, "n": 1}}


def test_the_ways_are_those_that_the_page_lists() -> None:
    page = (ROOT / "docs" / "verdicts.md").read_text()
    assert all(f"| {way} |" in page for way in list(WAYS)[1:])
