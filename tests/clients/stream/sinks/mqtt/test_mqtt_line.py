"""A real line that publishes to a real broker, and is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.broker import Broker, Subscriber
from tests.clients.stream.lines import RunningLine, camera, grpc_url
from tests.deploy.conftest import tool
from triton_yolo.server.process import TritonServer


@pytest.mark.slow
def test_a_line_that_is_killed_is_offline_at_once_and_its_numbers_go_on(server: TritonServer, tmp_path: Path) -> None:
    program = tool("mosquitto", "the package mosquitto of Debian and Ubuntu")
    with Broker(program, tmp_path / "broker") as broker, Subscriber(broker.port) as subscriber:
        sink = {"kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "keep": str(tmp_path / "box")}
        line, again = (RunningLine(tmp_path, [camera("top")], url=grpc_url(server), sinks=[sink]) for _ in range(2))
        state, top = (f"triton-yolo/v1/plant/{kind}/{line.name}" for kind in ("NSTATE", "DDATA"))
        top += "/top"
        with line:
            subscriber.wait(lambda: len(subscriber.messages[top]) >= 5)
            assert subscriber.contents(state)[-1]["online"]
            line.process.kill()
            subscriber.wait(lambda: not subscriber.messages[state][-1][1]["online"])
            assert subscriber.contents(state)[-1]["reason"] == "connection lost"
        seen = len(subscriber.contents(top))
        with again:
            subscriber.wait(lambda: len(subscriber.messages[top]) >= seen + 5)
            report = again.end()
        subscriber.wait(lambda: subscriber.messages[state][-1][1].get("reason") == "ended")
        messages = subscriber.contents(top)
    [place] = [place for place in report["sinks"] if place["kind"] == "mqtt"]
    assert (place["missed"], place["dropped"], place["waiting"], place["away"]) == (0, 0, 0, "")
    numbers = list(dict.fromkeys(message["seq"] for message in messages))
    assert numbers == list(range(1, len(numbers) + 1))
    second = [message for message in messages if message["seq"] > numbers[-1] - report["total"]["captured"]]
    assert sorted({message["number"] for message in second}) == list(range(report["total"]["captured"]))
