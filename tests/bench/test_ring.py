"""The torture of the ring, in small, and that it would find what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.errors import BenchError
from bench.ring import cost
from bench.ring_processes import ENTRY, NBYTES, WORDS, fill, is_whole
from bench.ring_torture import Torture, torture
from triton_yolo.clients.memory.ring import ANSWERED, CAPTURED, Capture


@pytest.mark.slow
def test_a_ring_loses_nothing_while_writers_and_readers_are_killed() -> None:
    deaths = []

    def shown(moments: list[float]) -> Iterator[float]:
        for moment in moments:
            yield moment
            deaths.append(moment)

    found = torture(3000, 12, 1, shown)
    assert len(deaths) == found["killed"]["total"] == 12
    assert found["answered"] >= 3000
    assert found["captured"] == found["answered"] + sum(found["dropped"].values())
    assert found["torn"] == found["answered_twice"] == found["missing"] == found["slots_not_free"] == 0
    assert found["leaked"] == {"files": 0, "descriptors": 0}


def test_a_frame_of_two_halves_is_not_whole() -> None:
    base = np.random.default_rng(0).integers(0, 1 << 63, WORDS, np.uint64)
    one, other = np.zeros(NBYTES, np.uint8), np.zeros(NBYTES, np.uint8)
    fill(one, base, 2, 1234)
    fill(other, base, 2, 1235)
    capture = Capture(2, 0, 1234, 5, 5, NBYTES, 234, 1, 2)
    assert is_whole(one, capture)
    assert not is_whole(one, capture._replace(number=1235, height=235))
    assert not is_whole(one, capture._replace(wall_ns=6))
    assert (one[24:].reshape(-1, 8) != other[24:].reshape(-1, 8)).any(axis=1).all(), "each word tells its frame"
    one[-8:] = other[-8:]
    assert not is_whole(one, capture)


@pytest.mark.parametrize(
    ("captured", "answered", "entries", "wrong"),
    [
        (2, 1, [(0, 1, 1)], "missing, captured"),
        (2, 2, [(0, 1, 1), (0, 1, 1)], "answered_twice"),
        (2, 2, [(0, 1, 1)], "answered"),
        (2, 1, [(0, 1, 1), (1, 1, 1)], "missing, captured, answered, numbers"),
        (2, 2, [(0, 0, 1), (0, 1, 2)], "torn, numbers"),
    ],
)
def test_an_account_that_is_wrong_is_found(
    captured: int, answered: int, entries: list[tuple[int, int, int]], wrong: str, tmp_path: Path
) -> None:
    run = Torture(1, 0, 0, tmp_path)
    try:
        assert run.account()["captured"] == 0
        run._ring.account(0)[CAPTURED], run._ring.account(0)[ANSWERED] = captured, answered
        run._journal.write_bytes(b"".join(ENTRY.pack(*entry) for entry in entries))
        with pytest.raises(BenchError, match=f"the ring's account is wrong: {wrong} in "):
            run.account()
    finally:
        run.close()


def test_the_cost_is_measured_with_and_without_a_copy() -> None:
    found = cost(3)
    assert set(found["formats"]) == {"bayer", "rgb"}
    assert list(found["steps_us"]) == ["begin", "publish", "ready", "take", "release"]
    assert all(value > 0 for ways in found["formats"].values() for value in ways.values())
