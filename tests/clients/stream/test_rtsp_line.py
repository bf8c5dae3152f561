"""A line with an RTSP camera that goes away and comes back with pictures of another size."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.stream.films import shoot
from tests.clients.stream.lines import RunningLine, camera, grpc_url
from tests.clients.stream.rtsp_server import PACKAGES, is_installed
from tests.clients.stream.test_rtsp import served
from triton_yolo.server.process import TritonServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(), reason=f"GStreamer's RTSP server is not installed: {PACKAGES}"),
]


def test_a_camera_that_changes_its_size_comes_back_in_another_ring(tmp_path: Path, server: TritonServer) -> None:
    small, large = (
        shoot(tmp_path / f"{height}.mp4", 1500, height, width, bf="0", g="25", preset="ultrafast")
        for height, width in ((96, 192), (240, 320))
    )
    with served(small) as (url, first):
        rtsp = {"name": "rtsp", "uri": url, "fps": 2}
        with RunningLine(tmp_path, [camera("well"), rtsp], url=grpc_url(server)) as line:
            line.wait_for_more("rtsp", 2)
            line.wait_for_more("well", 2)
            first.kill()
            first.wait()
            line.wait_for("rtsp", lambda row: row["state"] == "waiting", "is lost")
            with served(large, int(url.rpartition(":")[2].partition("/")[0])):
                line.wait_for("rtsp", lambda row: row["restarts"] and row["state"] == "running", "comes back")
                line.wait_for_more("rtsp", 3)
                line.wait_for_more("well", 2)
                report = line.end()
    line.untouched("well")
    [row] = (row for row in report["cameras"] if row["name"] == "rtsp")
    assert 96 * 192 * 3 // 2 < row["bytes_per_frame"] < 240 * 320 * 3 // 2  # the mean of both sizes
