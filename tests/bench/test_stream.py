"""python -m bench.stream."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.stream import WAYS
from tests.conftest import ROOT


def bench(folder: Path, *arguments: str) -> dict[str, object]:
    """What it writes for a server that it starts itself."""
    command = [sys.executable, "-m", "bench.stream", *arguments, "--out", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    content: dict[str, object] = json.loads((folder / f"stream-{arguments[0]}-cpu.json").read_text())
    return content


@pytest.mark.long
@pytest.mark.slow
def test_a_soak_tells_memory_files_and_the_account_over_time(tmp_path: Path) -> None:
    found = bench(tmp_path, "soak", "--cameras", "1", "--fps", "2", "--seconds", "31")
    samples = found["samples"]
    assert isinstance(samples, list)
    assert len(samples) >= 2
    for sample in samples:
        assert sample["account_missing"] == 0
        assert sample["line_bytes"] > 10e6
        assert sample["server_bytes"] > 100e6
        assert sample["files"] > 10
    report = found["report"]
    assert isinstance(report, dict)
    assert report["total"]["captured"] >= 31


def test_the_ways_of_a_frame_are_those_that_the_page_lists() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    assert all(f"| {way} |" in page for way in WAYS)
