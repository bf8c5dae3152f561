"""What bench.plant measures: when a frame stands in a register first, and the processor time of sinks."""

from __future__ import annotations

import queue
import time
from pathlib import Path
from typing import Any

import pytest

from bench.plant import CAMERAS, SETTLE, Plc, _result, _summary, sinks
from tests.clients.stream.lines import until
from tests.deploy.conftest import tool
from triton_yolo.clients.stream.events import CameraStatus
from triton_yolo.clients.stream.sinks.modbus.settings import ModbusSettings
from triton_yolo.clients.stream.sinks.modbus.sink import Modbus


def test_the_plc_notes_when_a_frame_stands_in_its_registers_first() -> None:
    with Plc() as plc:
        sink = Modbus(ModbusSettings(kind="modbus", mode="client", port=plc.port, beat_ms=20), ("camera-1",), "frame")
        sink.put(CameraStatus("camera-1", "running", ""))
        before = time.monotonic_ns()
        sink.put(_result("camera-1", 7)[0])
        until(lambda: (0, 7) in plc.written, "the frame is written")
        first = plc.written[0, 7]
        assert before < first < time.monotonic_ns()
        time.sleep(0.1)  # it is written again with each beat
        sink.close()
    assert plc.written == {(0, 7): first}


def test_frames_that_reach_no_register_are_counted_and_steps_add_up() -> None:
    plc, frames = Plc(), queue.SimpleQueue[dict[str, Any]]()
    wall, clock = time.time(), time.monotonic_ns()
    for number in range(int(SETTLE), int(SETTLE) + 4):
        frames.put({"camera": "top", "number": number, "captured": wall, "state": "inspected", "latency_ms": 30.0})
        if number != SETTLE:
            plc.written[0, number] = clock + 40_000_000
    stages = {"waiting sum": 0.03, "waiting count": 3, "inference sum": 0.06, "inference count": 3}
    found = _summary(frames, plc, ["top"], 1.0, stages)
    assert (found["frames"], found["not_in_a_register"]) == (4, 1)
    assert found["capture_to_register_ms"]["p50"] == pytest.approx(40, abs=5)
    assert found["answer_to_register_ms"]["p50"] == pytest.approx(10, abs=5)
    assert found["steps_share"]["request to answer"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
def test_each_sink_takes_processor_time_and_all_together_too(tmp_path: Path) -> None:
    tool("mosquitto", "the package mosquitto of Debian and Ubuntu")
    found = sinks(tmp_path, 10, 0.5)
    assert set(found["share_of_a_core"]) == {"json", "log", "metrics", "modbus", "mqtt", "opcua"}
    assert found["all_together"] > 0
    assert len((tmp_path / "line.json").read_text().splitlines()) == 2 * 5 * CAMERAS  # by itself, and with the others
