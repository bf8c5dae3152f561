"""Lines with cameras whose changes are sent, and not their frames."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.clients.stream.lines import RunningLine, camera, grpc_url
from tests.conftest import REPOSITORY
from tests.server.cells import copy_with_cells
from tests.support.servers import serving
from triton_yolo.clients.memory.ring import Reason
from triton_yolo.server.process import TritonServer, free_addresses


def tiles(name: str, fps: float = 4, frames: int = 8, quality: int | None = None, **options: Any) -> dict[str, Any]:
    """A camera whose changes are sent: of a board that stands still, with noise."""
    return camera(name, fps, options={"size": "240x320", "frames": frames, **options}) | {
        "transport": "tiles",
        "tiles": {"quality": quality},
    }


def test_what_has_not_changed_is_not_sent_and_its_detections_hold(tmp_path: Path, server: TritonServer) -> None:
    cameras = [tiles("still"), tiles("one", frames=1), camera("whole", options={"size": "240x320", "frames": 1})]
    films = tmp_path / "films"
    with RunningLine(tmp_path, cameras, url=grpc_url(server), options=("--show-tiles", str(films))) as line:
        for name in ("still", "one"):
            line.wait_for(name, lambda row: row["answered"] >= 30, "30 frames")
        line.wait_for_more("whole", 3)
        report = line.end()
    line.untouched("still", "one", "whole")
    rows = {row["name"]: row for row in report["cameras"]}
    assert "sent" not in rows["whole"]
    for name in ("still", "one"):
        assert rows[name]["sent"]["shares"]["nothing"] > 0.4
        assert sum(rows[name]["sent"]["shares"].values()) == pytest.approx(1, abs=1e-3)
        assert rows[name]["sent"]["bytes_per_frame"] < rows[name]["bytes_per_frame"] / 2
        assert rows[name]["sent"]["share_of_raw"] < 0.5
    boxes = {
        name: {str(verdict["detections"]) for verdict in line.verdicts if verdict["camera"] == name}
        for name in ("one", "whole")
    }
    assert boxes["one"] == boxes["whole"], "the same frame, again and again"
    [shown] = (sink for sink in report["sinks"] if sink["kind"] == "tiles")
    assert shown["shown"] > 0 == shown["lost"]
    assert {path.parts[-3] for path in films.rglob("*-sent-*.mp4")} == {"still", "one"}
    found_in = None
    for verdict in (verdict for verdict in line.verdicts if verdict["camera"] == "one"):
        if verdict.get("reused"):
            assert verdict["number"] - verdict["age"] == found_in
        else:
            assert "age" not in verdict
            found_in = verdict["number"]


@pytest.mark.parametrize(
    "pixel_format", ["bayer_grbg", *(pytest.param(name, marks=pytest.mark.slow) for name in ("yuyv", "nv12"))]
)
def test_frames_of_sensors_are_converted_as_the_server_does(
    tmp_path: Path, server: TritonServer, pixel_format: str
) -> None:
    options = {"size": "240x320", "frames": 1, "pixel_format": pixel_format}
    cameras = [tiles("tiles", frames=1, pixel_format=pixel_format), camera("whole", options=options)]
    with RunningLine(tmp_path, cameras, url=grpc_url(server), memory="plain") as line:
        line.wait_for_more("tiles", 3)
        line.wait_for_more("whole", 3)
        line.end()
    found = {name: {str(v["detections"]) for v in line.verdicts if v["camera"] == name} for name in ("tiles", "whole")}
    assert found["tiles"] == found["whole"]


@pytest.mark.slow
def test_a_server_that_is_killed_and_started_again_gets_a_key_frame(tmp_path: Path) -> None:
    addresses = free_addresses()
    with TritonServer(REPOSITORY, addresses, log=lambda line: None) as first:
        first.wait_until_ready()
        with RunningLine(tmp_path, [tiles("a", frames=1), tiles("b", 2, 60)], url=grpc_url(first)) as line:
            line.wait_for_more("a")
            os.killpg(first.running.pid, signal.SIGKILL)
            away = Reason.SERVER_AWAY.words
            line.wait_for("b", lambda row: row["dropped"].get(away, 0) > 3, "frames are refused")
            with TritonServer(REPOSITORY, addresses, log=lambda line: None) as second:
                second.wait_until_ready()
                line.wait_for_more("a")
                line.wait_for_more("b")
                report = line.end()
    for row in report["cameras"]:
        assert set(row["dropped"]) <= {away}
        assert row["restarts"] == 0


@pytest.mark.slow
def test_cameras_that_the_server_has_no_room_for_send_whole_frames(tmp_path: Path) -> None:
    repository = copy_with_cells(REPOSITORY, tmp_path / "repository")
    config = repository / "assemble" / "config.pbtxt"
    config.write_text(config.read_text().replace('"64"', '"1"'))
    with serving(repository) as server:
        cameras = [tiles(name, frames=1) for name in ("a", "b")]
        with RunningLine(tmp_path, cameras, url=grpc_url(server)) as line:
            line.wait_for_more("a", 8)
            line.wait_for_more("b", 8)
            report = line.end()
    line.untouched("a", "b")
    shares = sorted((row["sent"]["shares"] for row in report["cameras"]), key=lambda one: one.get("nothing", 0))
    assert set(shares[0]) == {"whole frame"}
    assert shares[1]["nothing"] > 0.5
    assert "no room for another stream" in line.log.read_text()
