"""A real line in a plant: a PLC asks over Modbus, others look over OPC UA and HTTP, and all see the same."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from tests.clients.stream.lines import RunningLine, camera, grpc_url, until
from triton_yolo.clients.stream.sinks.modbus.registers import (
    CAMERA,
    CAMERA_REGISTERS,
    LINE,
    LINE_REGISTERS,
    count_of,
    value_of,
)
from triton_yolo.clients.stream.sinks.opcua.nodes import NAMESPACE
from triton_yolo.clients.stream.sinks.plc.state import Code, Why
from triton_yolo.server.process import TritonServer, free_addresses

CAMERAS = ("top", "side")
COMMANDS = 1000
READY, BUSY, DONE, STALE, ALIVE = (1 << place for place in range(5))
CODES = {"pass": Code.PASS, "fail": Code.FAIL, "not inspected": Code.NOT_INSPECTED}


def modbus(**more: Any) -> dict[str, Any]:
    return {"kind": "modbus", "mode": "server", "port": free_addresses().grpc, "commands": COMMANDS, **more}


class Plc:
    """A PLC that reads a line's registers."""

    def __init__(self, port: int) -> None:
        self._client = ModbusTcpClient("127.0.0.1", port=port, timeout=10, retries=0)
        until(self._client.connect, "the line listens for the PLC")

    def __enter__(self) -> Plc:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def read(self) -> list[int]:
        answer = self._client.read_input_registers(0, count=count_of(len(CAMERAS)), device_id=1)
        assert not answer.isError()
        return list(answer.registers)

    def wait_for(self, bit: int) -> list[int]:
        return list(
            until(lambda: (words := self.read()) and value_of(words, LINE, "status") & bit and words, f"bit {bit}")
        )

    def write(self, place: int, number: int) -> None:
        assert not self._client.write_register(COMMANDS + place, number, device_id=1).isError()


def block(words: list[int], camera: int, name: str) -> int:
    return value_of(words, CAMERA, name, LINE_REGISTERS + camera * CAMERA_REGISTERS)


@pytest.mark.slow
def test_a_plc_begins_boards_and_reads_what_the_line_says_of_them(server: TritonServer, tmp_path: Path) -> None:
    ports = free_addresses()
    sinks = [
        modbus(handshake=True, answer_within_s=60),
        {"kind": "opcua", "port": ports.grpc},
        {"kind": "metrics", "port": ports.metrics},
    ]
    verdict = {"boards": "trigger", "patience_s": 60}
    cameras = [camera(name) for name in CAMERAS]
    line = RunningLine(tmp_path, cameras, url=grpc_url(server), sinks=sinks, verdict=verdict)
    read = []
    with line:
        for name in CAMERAS:
            line.wait_for_more(name, 1)
        with Plc(sinks[0]["port"]) as plc:
            for request in (11, 12, 13):
                plc.wait_for(READY)
                plc.write(0, request)
                read.append(plc.wait_for(DONE))
                assert value_of(read[-1], LINE, "request") == request
                plc.write(1, request)
        until(lambda: asyncio.run(_opcua(ports.grpc, line.name)) == 3, "OPC UA has the third board")
        with urllib.request.urlopen(f"http://127.0.0.1:{ports.metrics}/metrics") as answer:
            page = answer.read().decode()
        report = line.end()
    boards = {(row["camera"], row["board"]): row for row in line.boards}
    for words in read:
        codes = []
        for place, name in enumerate(CAMERAS):
            row = boards[name, block(words, place, "number")]
            codes.append(CODES[row["verdict"]])
            assert block(words, place, "verdict") == codes[-1]
            assert block(words, place, "defects") == row["defects"]
            assert block(words, place, "worst score") == round((row["worst"] or {"score": 0})["score"] * 10_000)
            assert block(words, place, "captured") == int(row["last"])
        expected = min(codes, key=[Code.FAIL, Code.NOT_INSPECTED, Code.PASS].index)
        assert value_of(words, LINE, "verdict") == expected
    assert [block(words, 0, "number") for words in read] == [1, 2, 3]
    shown = float(
        page.partition(f'triton_yolo_frames_captured_total{{camera="top",line="{line.name}"}} ')[2].split()[0]
    )
    assert 0 < shown <= report["total"]["captured"]
    assert 'triton_yolo_latency_seconds_count{camera="top"' in page
    assert 'stage="waiting"' in page


async def _opcua(port: int, line: str) -> int:
    async with Client(f"opc.tcp://127.0.0.1:{port}/triton-yolo", timeout=30) as client:
        space = await client.get_namespace_index(NAMESPACE)
        node = client.get_node(ua.NodeId(f"{line}/Cameras/top/Number", space))  # type: ignore[arg-type]
        return int(await node.read_value())


@pytest.mark.slow
def test_a_camera_and_a_line_that_die_show_in_the_registers(server: TritonServer, tmp_path: Path) -> None:
    sink = modbus()
    cameras = [camera("top"), camera("side", options={"size": "240x320", "frames": 3}, silent_after=1000)]
    line = RunningLine(tmp_path, cameras, url=grpc_url(server), sinks=[sink])
    with line:
        for name in CAMERAS:
            line.wait_for_more(name, 1)
        with Plc(sink["port"]) as plc:
            until(lambda: block(plc.read(), 0, "sequence") > 2, "results come")
            until(lambda: value_of(plc.read(), LINE, "status") & ALIVE, "it is alive")
            line.cameras()["side"].suspend()
            until(lambda: block(plc.read(), 1, "why") == Why.STALE, "the camera is silent")
            assert value_of(plc.read(), LINE, "verdict") != Code.PASS
            assert value_of(plc.read(), LINE, "status") & STALE
            line.cameras()["side"].resume()
            until(lambda: block(plc.read(), 1, "why") == Why.NONE, "the camera is back")
            line.process.kill()
            line.process.wait()
            with pytest.raises((ModbusException, OSError)):
                plc.read()
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", sink["port"]), timeout=5):
            pass
