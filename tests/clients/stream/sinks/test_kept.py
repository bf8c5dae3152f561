"""What a line with records and a log leaves behind, with the real server."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from tests.clients.commands import run
from tests.clients.stream.lines import RunningLine, grpc_url, until
from tests.clients.stream.test_boards import belt
from triton_yolo.clients.commands.log import main
from triton_yolo.server.process import TritonServer


@pytest.mark.slow
def test_what_fails_is_kept_in_pictures_films_and_the_log(server: TritonServer, tmp_path: Path) -> None:
    records, log = tmp_path / "records", tmp_path / "log.db"
    sinks = [
        {"kind": "records", "folder": str(records), "before_s": 1, "after_s": 1, "interval_s": 1, "everything": True},
        {"kind": "log", "path": str(log)},
    ]
    verdict = {"boards": "motion", "rules": [{"score": 0.5, "name": "a defect"}]}
    line = RunningLine(tmp_path, [belt("left")], url=grpc_url(server), verdict=verdict, sinks=sinks)
    with line:
        until(lambda: line.boards, "a board has gone")
        report = line.end()
    found = {sink["kind"]: sink for sink in report["sinks"]}
    failed = [one for one in line.verdicts if one["verdict"] == "fail"]

    pictures = sorted(records.rglob("*-fail-*.jpg"))
    assert len(pictures) == 2 * found["records"]["pictures"] >= 2
    assert found["records"]["missed"] == found["log"]["missed"] == found["records"]["lost"] == 0
    numbers = {int(path.name.removesuffix(".boxes.jpg").removesuffix(".jpg").rpartition("-")[2]) for path in pictures}
    assert numbers <= {one["number"] for one in failed}
    assert all(cv2.imread(str(path)).shape == (480, 640, 3) for path in pictures)
    assert len(list(records.rglob("*-film-*.mp4"))) == found["records"]["films"] >= 1
    assert list(records.rglob("*-all-*.mp4"))

    rows = [json.loads(row) for row in run(main, log, "--json").stdout.splitlines()]
    assert [(row["board"], row["verdict"], row["why"]) for row in rows] == [
        (one["board"], one["verdict"], one.get("why", "")) for one in line.boards
    ]
    bad = [json.loads(row) for row in run(main, log, "--frames", "--json").stdout.splitlines()]
    assert [row["number"] for row in bad] == [one["number"] for one in line.verdicts if one["verdict"] != "pass"]
