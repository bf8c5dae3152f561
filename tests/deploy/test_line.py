"""What the compose profile ``line`` runs, with its own files, as processes of this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.broker import Broker, Subscriber
from deploy.plc import HEARTBEAT_SECONDS, REGISTERS, Program
from tests.clients.stream.lines import grpc_url, until
from tests.conftest import ROOT
from tests.deploy.conftest import tool
from triton_yolo.clients.stream.line import read_line
from triton_yolo.clients.stream.sinks.modbus.registers import encode
from triton_yolo.clients.stream.sinks.plc.handshake import Phase
from triton_yolo.clients.stream.sinks.plc.state import CameraView, Code, LineView, Outcome, Why
from triton_yolo.server.process import TritonServer, free_addresses

FILES = ROOT / "deploy" / "line"


def words(beat: int, *cameras: CameraView, alive: bool = True) -> list[int]:
    return encode(LineView(alive, False, beat, 1, Phase.FREE, 0, Outcome(), cameras))


def camera(sequence: int, code: Code) -> CameraView:
    return CameraView(True, False, sequence, 40 + sequence, Outcome(code, Why.NONE, 2 if code == Code.FAIL else 0))


def test_the_plc_says_of_each_board_once_whether_it_passes() -> None:
    program = Program()
    assert list(program.scan([0] * REGISTERS, 0.0)) == []
    said = list(program.scan(words(1, camera(1, Code.PASS), camera(1, Code.FAIL)), 0.1))
    assert said == [
        "the line is there",
        "camera 0 board 41: pass, 0 defects; it passes",
        "camera 1 board 41: fail, 2 defects; it is taken out",
    ]
    assert list(program.scan(words(2, camera(1, Code.PASS), camera(1, Code.FAIL)), 0.2)) == []
    said = list(program.scan(words(3, camera(2, Code.NOT_INSPECTED), camera(1, Code.FAIL)), 0.3))
    assert said == ["camera 0 board 42: not inspected, 0 defects; it is taken out"]


def test_the_plc_lets_nothing_pass_without_a_heartbeat() -> None:
    program = Program()
    list(program.scan(words(1, camera(1, Code.PASS)), 0.0))
    later = HEARTBEAT_SECONDS + 0.1
    assert list(program.scan(words(1, camera(2, Code.PASS)), later)) == ["NO HEARTBEAT: nothing may pass"]
    assert list(program.scan(words(1, camera(2, Code.PASS)), later + 1)) == []
    assert list(program.scan(words(2, camera(2, Code.PASS), alive=False), later + 2)) == []
    assert next(program.scan(words(3, camera(2, Code.PASS)), later + 3)) == "the line is there"


def adjusted(folder: Path, server: TritonServer, broker: Broker, plc: int, page: int, metrics: int) -> Path:
    """The line's file with the addresses of this machine, and a belt that is faster."""
    content = yaml.safe_load((FILES / "line.yaml").read_text())
    content |= {"url": grpc_url(server), "name": f"test-{folder.name}"[:60], "deadline_ms": 40_000}
    content["cameras"] = content["cameras"][:2]
    for one in content["cameras"]:
        one["fps"] = 6
    places: dict[str, dict[str, Any]] = {
        "page": {"listen": f"127.0.0.1:{page}"},
        "modbus": {"host": "127.0.0.1", "port": plc},
        "mqtt": {"host": "127.0.0.1", "port": broker.port, "keep": str(folder / "mqtt.sqlite")},
        "metrics": {"host": "127.0.0.1", "port": metrics},
        "log": {"path": str(folder / "log.sqlite")},
    }
    assert {sink["kind"] for sink in content["sinks"]} == set(places)
    content["sinks"] = [sink | places[sink["kind"]] for sink in content["sinks"]]
    file = folder / "line.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_the_file_names_the_services_that_the_profile_starts() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    started = {name for name, service in compose.items() if service.get("profiles") == ["line"]}
    line = read_line(FILES / "line.yaml")
    hosts = {sink.host for sink in line.sinks if sink.kind in ("modbus", "mqtt")}
    assert hosts | {"line"} == started
    [modbus] = [sink for sink in line.sinks if sink.kind == "modbus"]
    command = [sys.executable, "-m", "deploy.plc", "--help"]
    assert str(modbus.port) in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    mosquitto = (FILES / "mosquitto.conf").read_text()
    assert "listener 1883\n" in mosquitto


@pytest.mark.slow
def test_a_plant_runs_and_a_line_that_dies_lets_nothing_pass(server: TritonServer, tmp_path: Path) -> None:
    program = tool("mosquitto", "the package mosquitto of Debian and Ubuntu")
    ports = free_addresses()
    with Broker(program, tmp_path / "broker") as broker, Subscriber(broker.port) as subscriber:
        file = adjusted(tmp_path, server, broker, ports.grpc, ports.http, ports.metrics)
        with (
            (tmp_path / "plc.txt").open("wb") as said,
            subprocess.Popen(
                [sys.executable, "-u", "-m", "deploy.plc", "--port", str(ports.grpc)], cwd=ROOT, stdout=said
            ) as plc,
            (tmp_path / "line.txt").open("wb") as log,
            subprocess.Popen(
                [sys.executable, "-m", "triton_yolo", "stream", str(file)], cwd=ROOT, stdout=log, stderr=log
            ) as line,
        ):
            try:

                def plc_says(text: str) -> bool:
                    return text in (tmp_path / "plc.txt").read_text()

                until(lambda: plc_says("the line is there"), "the PLC sees the line")
                until(lambda: plc_says("board 1: "), "the PLC sees a board")
                with urllib.request.urlopen(f"http://127.0.0.1:{ports.http}/", timeout=10) as answer:
                    assert b"<title>" in answer.read()
                with urllib.request.urlopen(f"http://127.0.0.1:{ports.metrics}/metrics", timeout=10) as answer:
                    page = answer.read().decode()
                assert 'triton_yolo_sink_away{line="' in page
                topic = f"triton-yolo/v1/plant/DDATA/{read_line(file).name}/top-1"
                subscriber.wait(lambda: subscriber.messages[topic])
                assert subscriber.contents(topic)[0]["board"] == 1
                line.send_signal(signal.SIGKILL)
                until(lambda: plc_says("NO HEARTBEAT: nothing may pass"), "the PLC misses the heartbeat")
                state = topic.replace("DDATA", "NSTATE").removesuffix("/top-1")
                subscriber.wait(lambda: not subscriber.messages[state][-1][1]["online"])
                plc.send_signal(signal.SIGTERM)
                assert plc.wait(30) == 0
            finally:
                line.kill()
                plc.kill()
