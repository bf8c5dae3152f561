"""A line and a server that trace: one trace of a frame has the spans of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.stream.lines import RunningLine, camera, grpc_url, until
from tests.clients.stream.test_tiles_line import tiles
from tests.clients.stream.tracing.collector import Arrived, Collector
from tests.conftest import REPOSITORY
from triton_yolo.server.process import TritonServer, free_addresses

SECOND = 1_000_000_000


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["grpc", pytest.param("http", marks=pytest.mark.long)])
def test_one_trace_of_a_frame_goes_from_the_camera_through_triton_to_the_sinks(tmp_path: Path, protocol: str) -> None:
    with (
        Collector() as collector,
        TritonServer(REPOSITORY, free_addresses(), log=lambda line: None, trace=collector.url) as server,
    ):
        server.wait_until_ready()
        url = grpc_url(server) if protocol == "grpc" else f"http://{server.addresses.host}:{server.addresses.http}"
        tracing = {"endpoint": collector.url, "share": 0.5}
        still = {**tiles("still", frames=1), "tiles": {"quality": None, "key_interval": 3}}
        cameras = [camera("top"), camera("side"), still]
        with RunningLine(tmp_path, cameras, url=url, tracing=tracing) as line:
            for name in ("top", "side", "still"):
                line.wait_for_more(name, 8)
            report = line.end()
        captured = {row["name"]: row["captured"] for row in report["cameras"]}

        def below(span: Arrived) -> dict[str, Arrived]:
            return {one.name: one for one in collector.below(span)}

        def of_triton() -> list[Arrived]:
            """Requests under which Triton's own spans have arrived."""
            return [one for one in collector.named("request") if "InferRequest" in below(one)]

        def served_still() -> set[bool]:
            """Whether the server has seen the frames of the camera of which nothing is sent but key frames."""
            whole = [one for one in collector.named("frame") if one.about["camera"] == "still"]
            return {"InferRequest" in below(below(one)["request"]) for one in whole}

        until(lambda: len(of_triton()) >= 8 and served_still() == {True, False}, "Triton's spans")
    frames = collector.named("frame")
    for name, count in captured.items():  # each second frame
        assert sorted(one.about["frame"] for one in frames if one.about["camera"] == name) == list(range(1, count, 2))
    for one in frames:
        assert {"capture", "ring", "request", "order", "sink JSON lines"} <= set(below(one)), one
        assert below(one)["capture"].begin == one.begin
    for request in of_triton():
        assert request.service == "triton-yolo-line"
        served = below(request)["InferRequest"]
        assert served.service == "triton-yolo"
        assert request.begin - SECOND < served.begin < request.end + SECOND  # by the clocks of two processes
        assert below(served), "the steps of the ensemble"
    # What the client does not trace, the server does not trace either.
    traced = {one.trace for one in frames}
    assert {one.trace for one in list(collector.spans)} <= traced
