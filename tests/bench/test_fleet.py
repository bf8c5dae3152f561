"""The measurement of several servers, in small: on the CPU, with a network that takes no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.fleet import measure
from tests.conftest import REPOSITORY
from tests.server.cells import copy_with_cells
from triton_yolo.server.fleet.parts import shares


@pytest.mark.long
@pytest.mark.slow
def test_one_server_and_all_are_measured(tmp_path: Path) -> None:
    result = measure(shares(2), copy_with_cells(REPOSITORY, tmp_path / "repository"), "cpu", 1)
    assert result["servers"] == 2
    assert result["times_as_fast"] > 0
    for name, servers in (("one_directly", 1), ("one_behind_envoy", 1), ("all_behind_envoy", 2)):
        assert result[name]["requests_in_flight"] == 4 * servers
        assert result[name]["load"]["items_per_second"] > 0
        assert result[name]["alone"]["p50_ms"] > 0
