"""Cores that servers get."""

from __future__ import annotations

import os

import pytest

from triton_yolo.server.fleet.parts import shares


@pytest.mark.parametrize(
    ("cores", "servers", "expected"),
    [
        ({0, 1, 2, 3}, 1, [(0, 1, 2, 3)]),
        ({0, 1, 2, 3}, 2, [(0, 1), (2, 3)]),
        ({0, 2, 4}, 2, [(0, 2), (4,)]),  # 1.5 is rounded to the even number
        ({0, 1}, 2, [(0,), (1,)]),
        ({0, 1}, 3, [(0,), (1,), (0,)]),  # more servers than cores
    ],
)
def test_all_cores_are_used_and_none_by_two_servers_without_need(
    monkeypatch: pytest.MonkeyPatch, cores: set[int], servers: int, expected: list[tuple[int, ...]]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: cores)
    assert [part.cores for part in shares(servers)] == expected
