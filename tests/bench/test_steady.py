"""A load of threads, of which the start is not counted."""

from __future__ import annotations

import threading
import time

import pytest

from bench import steady as module
from bench.errors import BenchError
from bench.steady import steady


@pytest.fixture(autouse=True)
def short_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STARTING", 0.3)


def test_what_begins_with_the_load_is_not_counted() -> None:
    """The first request of each thread is slow, as while a server warms up."""
    done: dict[int, int] = {}

    def work(number: int) -> int:
        done[number] = done.get(number, 0) + 1
        time.sleep(0.2 if done[number] == 1 else 0.01)
        return 8

    load = steady(work, 3, 0.5)
    assert sorted(done) == [0, 1, 2]
    assert 0 < load.requests <= sum(done.values()) - 3
    assert load.p50_ms >= 10
    assert load.items_per_second == load.requests * 8 / 0.5


def test_a_request_that_fails_ends_the_load_and_is_raised() -> None:
    threads = threading.active_count()

    def work(number: int) -> int:
        if number == 1:
            raise ZeroDivisionError
        return 1

    with pytest.raises(ZeroDivisionError):
        steady(work, 2, 30)
    assert threading.active_count() == threads


def test_a_time_in_which_nothing_ends_is_an_error() -> None:
    with pytest.raises(BenchError, match=r"no request began and ended within 0\.1 s: measure longer"):
        steady(lambda number: time.sleep(0.5) or 1, 1, 0.1)
