"""Boards on a line that runs: a belt that stops and goes, and a camera that dies while a board stands."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.clients.stream.lines import EASY, RunningLine, camera, grpc_url, until
from triton_yolo.boards.line import Line
from triton_yolo.clients.stream.events import Event
from triton_yolo.clients.stream.line import checked
from triton_yolo.clients.stream.run import run
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.verdict import BoardVerdict, Verdict
from triton_yolo.server.process import TritonServer

STILL, MOVING = 30, 20  # frames of the drawn line


def belt(name: str) -> dict[str, Any]:
    """A camera over a belt with two boards, which come again and again."""
    return camera(name, 6, "480x640", options={"size": "480x640", "frames": 2 * (STILL + MOVING)})


@pytest.mark.slow
def test_boards_of_a_belt_have_verdicts_and_a_camera_that_dies_leaves_one_not_inspected(
    server: TritonServer, tmp_path: Path
) -> None:
    drawn = Line(0, 640, 480, boards=2)
    assert (drawn.still_frames, drawn.moving_frames) == (STILL, MOVING)
    verdict = {"boards": "motion", "rules": [{"score": 0.5, "frames": 3}]}
    line = RunningLine(tmp_path, [belt("left"), belt("right")], url=grpc_url(server), verdict=verdict)
    with line:
        until(lambda: len([one for one in line.boards if one["camera"] == "left"]) >= 1, "a board has gone")
        left = line.cameras()["left"]
        seen = [one["number"] for one in line.verdicts if one["camera"] == "left"][-1]
        until(  # the middle of the next board
            lambda: (
                [one for one in line.verdicts if one["camera"] == "left"][-1]["number"]
                >= max(seen, STILL + MOVING + STILL // 2)
            ),
            "the next board stands",
        )
        left.kill()
        line.wait_for("left", lambda row: row["restarts"] >= 1 and row["state"] == "running", "comes back")
        line.wait_for_more("left", 5)
        report = line.end()
    rows = {row["name"]: row["boards"] for row in [*report["cameras"], {"name": "all", **report["total"]}]}
    for name in ("left", "right"):
        counts = Counter(one["verdict"].replace(" ", "_") for one in line.boards if one["camera"] == name)
        assert rows[name] == {verdict: counts[verdict] for verdict in ("pass", "fail", "not_inspected")}
    assert rows["all"] == {verdict: rows["left"][verdict] + rows["right"][verdict] for verdict in rows["all"]}
    lost, whole = ([one for one in line.boards if one["camera"] == name] for name in ("left", "right"))
    for boards in (lost, whole):
        assert [one["board"] for one in boards] == list(range(1, len(boards) + 1))
        first = boards[0]
        assert (first["verdict"], first["inspected"]) == ("fail", first["frames"]), first
        assert first["numbers"][1] < STILL
        assert first["frames"] == first["numbers"][1] - first["numbers"][0] + 1 >= STILL - 3
        assert first["worst"]["score"] >= 0.5
        assert 0 < first["last"] - first["first"] < 2 * STILL / 6
    # Each board of this belt has defects, so the one that was lost has failed already.
    assert lost[1]["verdict"] == "fail"
    assert lost[1]["numbers"][1] < STILL + MOVING + STILL - 1


class Button(Sink):
    """Announces a board of all cameras twice a second."""

    kind, events, period = "button", (BoardVerdict,), 0.5

    def __init__(self) -> None:
        self.announced: list[dict[str, int]] = []
        self.boards: list[BoardVerdict] = []
        super().__init__()

    def tick(self) -> None:
        if numbers := self.trigger(None):
            self.announced.append(numbers)

    def write(self, event: Event) -> None:
        assert isinstance(event, BoardVerdict)
        self.boards.append(event)


@pytest.mark.slow
def test_each_trigger_of_a_sink_gets_one_verdict_for_each_camera(server: TritonServer) -> None:
    cameras = [camera(name, 8, options={"size": "240x320", "frames": 3}) for name in ("left", "right")]
    verdict = {"boards": "trigger", "frames_per_board": 2}
    content = {"name": f"test-{os.getpid()}", "url": grpc_url(server), **EASY, "verdict": verdict, "cameras": cameras}
    button = Button()

    stream = run(checked(content, ""), [button], seconds=6)

    assert not stream.unbalanced
    assert len(button.announced) >= 5
    for name in ("left", "right"):
        boards = [board for board in button.boards if board.camera == name]
        assert [board.board for board in boards] == [numbers[name] for numbers in button.announced if name in numbers]
        *whole, last = boards
        assert [board.frames for board in whole] == [2] * len(whole)
        assert not [board for board in whole if board.verdict == Verdict.NOT_INSPECTED]
        # The line may end while a board has one frame: a defect on it counts, but half a board is never good.
        assert last.frames == 2 or last.verdict != Verdict.PASS
        firsts = [board.first_ns for board in whole]
        assert firsts == sorted(firsts)


def test_a_board_that_a_dying_camera_leaves_is_not_inspected(server: TritonServer, tmp_path: Path) -> None:
    nothing = {"boards": "motion", "rules": [{"score": 1.0}]}
    line = RunningLine(tmp_path, [belt("left")], url=grpc_url(server), verdict=nothing)
    with line:
        until(lambda: len(line.verdicts) >= STILL // 2, "the first board stands")
        line.cameras()["left"].kill()
        until(lambda: line.boards, "a verdict on the board")
        line.end()
    first = line.boards[0]
    assert first["verdict"] == "not inspected"
    assert "the camera was lost: " in first["why"]
    assert first["inspected"] >= 5
