"""The table of a line: columns that are there where they say something."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import cast

import numpy as np
import pytest
from rich.console import Console

from triton_yolo.clients.stream.accounts import Account
from triton_yolo.clients.stream.cameras import Cameras
from triton_yolo.clients.stream.frames import Sent
from triton_yolo.clients.stream.statistics import CameraStatistics
from triton_yolo.clients.stream.verdict import Verdict
from triton_yolo.clients.stream.view import View


class Camera:
    """As much of a camera as a table needs."""

    state = "running"

    def __init__(self, name: str) -> None:
        self.name = name

    def known_account(self) -> Account:
        return Account(captured=9, answered=8)


@pytest.fixture
def statistics() -> Iterator[dict[str, CameraStatistics]]:
    yield {"top": CameraStatistics()}


def shown(statistics: dict[str, CameraStatistics], boards: bool) -> list[str]:
    """The lines of the table."""
    view = View(cast(Cameras, [Camera("top"), Camera("side")]), statistics, 8, boards)
    file = io.StringIO()
    Console(width=160, file=file).print(view.table())
    return file.getvalue().splitlines()


def test_boards_have_a_column_where_they_are_told_apart(statistics: dict[str, CameraStatistics]) -> None:
    statistics["top"].boards.update([Verdict.PASS] * 12 + [Verdict.FAIL])
    head, top, side = shown(statistics, boards=True)
    assert head.split()[-1] == "boards"
    assert top.rstrip().endswith("12 pass, 1 fail")
    assert side.rstrip().endswith("-")
    assert "boards" not in shown(statistics, boards=False)[0]


def test_what_is_sent_has_a_column_where_changes_are(statistics: dict[str, CameraStatistics]) -> None:
    assert "sent" not in shown(statistics, boards=True)[0]
    for kind, nbytes in (("nothing", 0), ("coded tiles", 3000)):
        statistics["top"].sent(Sent(kind, nbytes, np.empty((0, 4), np.int32)), 10_000)
    head, top, _ = shown(statistics, boards=False)
    assert head.split()[-1] == "sent"
    assert top.rstrip().endswith("1.5 kB: nothing 50 %, coded tiles 50 %")
