"""Results that go through a broker which is killed meanwhile: all arrive once, in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.mqtt import measure
from tests.deploy.conftest import tool

PACKAGE = "the package mosquitto of Debian and Ubuntu"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("results", "kills"),
    [(2000, 3), pytest.param(100_000, 50, marks=pytest.mark.long)],
    ids=["few", "many"],
)
def test_all_results_arrive_once_and_in_order_though_the_broker_is_killed(
    tmp_path: Path, results: int, kills: int
) -> None:
    found = measure(tool("mosquitto", PACKAGE), tmp_path, results, kills)
    assert found["arrived"] == results
    assert (found["missing"], found["out_of_order"]) == (0, 0)
    assert (found["dropped_by_the_bound"], found["missed_by_the_queue"]) == (0, 0)
