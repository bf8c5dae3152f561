"""python -m bench.calibration_speed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.calibration_speed import main
from tests.calibration.small import images, repository

pytestmark = pytest.mark.computes


@pytest.mark.slow
def test_it_says_the_seconds_of_each_step_and_what_was_chosen(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    main(repository(tmp_path), images(tmp_path / "images", 8), out, None, 8, 2, 0.5)
    result = json.loads(out.read_text())
    assert result["seconds"]["processor"] > 0
    assert {"ranges", "methods", "sensitivity", "search", "reference"} <= set(result["seconds_of_steps"])
    assert result["result"]["methods"]
