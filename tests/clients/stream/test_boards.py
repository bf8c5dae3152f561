"""Boards on a line that runs: a belt that stops and goes, and a camera that dies while a board stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.clients.stream.lines import RunningLine, camera, grpc_url, until
from triton_yolo.boards.line import Line
from triton_yolo.server.process import TritonServer

STILL, MOVING = 30, 20  # frames of the drawn line


def belt(name: str) -> dict[str, Any]:
    """A camera over a belt with two boards, which come again and again."""
    return camera(name, 6, "480x640", options={"size": "480x640", "frames": 2 * (STILL + MOVING)})


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
        line.end()
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
