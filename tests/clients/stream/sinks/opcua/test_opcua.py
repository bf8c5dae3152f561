"""What a real OPC UA client sees of a line, and what it may do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

from tests.clients.stream.sinks.modbus.test_modbus import CAMERAS, EASY, Boards, board
from tests.clients.stream.sinks.results import inspected, line_status, pulse
from tests.conftest import ROOT
from tests.deploy.conftest import tool
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.events import CameraStatus
from triton_yolo.clients.stream.sinks.modbus.registers import LINE as REGISTERS
from triton_yolo.clients.stream.sinks.modbus.registers import value_of
from triton_yolo.clients.stream.sinks.opcua.nodes import NAMESPACE, as_table
from triton_yolo.clients.stream.sinks.opcua.settings import OpcUaSettings
from triton_yolo.clients.stream.sinks.opcua.sink import OpcUa
from triton_yolo.clients.stream.sinks.plc.state import Code, Why
from triton_yolo.clients.stream.verdict import Verdict
from triton_yolo.server.process import free_addresses

PATIENCE = 60.0
SILENT: dict[OpcUa, threading.Event] = {}  # makes a line hang


@contextlib.contextmanager
def serving(boards: str = "frame", trigger: Any = None, **more: Any) -> Iterator[tuple[OpcUa, str]]:
    """A line's sink whose cameras run, and its address."""
    port = free_addresses().grpc
    content = {"kind": "opcua", "port": port, "beat_ms": 20, **EASY, **more}
    sink = OpcUa(OpcUaSettings.model_validate(content), "line-3", CAMERAS, boards)
    if trigger:
        sink.trigger = trigger
    try:
        sink.put(line_status(*CAMERAS))
        for camera in CAMERAS:
            sink.put(CameraStatus(camera, "running", ""))
        with pulse(sink, *CAMERAS) as silent:
            SILENT[sink] = silent
            yield sink, f"opc.tcp://127.0.0.1:{port}/triton-yolo"
    finally:
        sink.close()


class Plc:
    """A client that names nodes as the page does."""

    def __init__(self, client: Client, space: int) -> None:
        self.client, self._space = client, space

    def node(self, path: str) -> Any:
        return self.client.get_node(ua.NodeId(f"line-3/{path}", self._space))  # type: ignore[arg-type]

    async def read(self, path: str) -> Any:
        return await self.node(path).read_value()

    async def until(self, condition: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        end = time.monotonic() + PATIENCE
        while not (found := await condition()):
            assert time.monotonic() < end
            await asyncio.sleep(0.02)
        return found

    async def wait_for(self, path: str, wanted: Any) -> None:
        async def holds() -> bool:
            return bool(await self.read(path) == wanted)

        await self.until(holds)

    async def write(self, path: str, number: int) -> None:
        await self.node(path).write_value(ua.Variant(number, ua.VariantType.UInt16))


@contextlib.asynccontextmanager
async def plc(url: str) -> AsyncIterator[Plc]:
    async with Client(url, timeout=20) as client:
        yield Plc(client, await client.get_namespace_index(NAMESPACE))


def test_a_client_reads_the_newest_results_and_subscribes_to_them() -> None:
    async def main(sink: OpcUa, url: str) -> None:
        async with plc(url) as line:
            assert await line.read("Cameras/top/Verdict") == Code.NOT_INSPECTED
            seen: list[Any] = []

            class Handler:
                def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
                    seen.append(value)

            subscription = await line.client.create_subscription(20, Handler())
            await subscription.subscribe_data_change(line.node("Cameras/top/Verdict"))
            sink.put(inspected("top", 41))
            sink.put(inspected("side", 7, (1, 0.75), (0, 0.5)))
            await line.wait_for("Sequence", 2)
            await line.wait_for("Cameras/top/Verdict", Code.PASS)
            await line.wait_for("Cameras/side/Defects", 2)
            assert await line.read("Cameras/top/Number") == 41
            assert await line.read("Cameras/side/WorstClass") == 2
            assert await line.read("Cameras/side/WorstScore") == 0.75
            assert await line.read("Verdict") == Code.FAIL
            assert (await line.read("Cameras/top/Captured")).timestamp() == pytest.approx(time.time(), abs=60)
            words = await line.read("Registers")
            assert value_of(words, REGISTERS, "verdict") == Code.FAIL
            await line.until(lambda: _last(seen, Code.PASS))
            first = await line.read("Heartbeat")
            await line.until(lambda: _greater(line, "Heartbeat", first))

    async def _last(seen: list[Any], wanted: int) -> bool:
        return seen[-1:] == [wanted]

    async def _greater(line: Plc, path: str, number: int) -> bool:
        return bool(await line.read(path) > number)

    with serving() as (sink, url):
        asyncio.run(main(sink, url))


@pytest.mark.slow
def test_a_dead_camera_and_a_line_that_hangs_have_inspected_nothing() -> None:
    async def main(sink: OpcUa, url: str) -> None:
        async with plc(url) as line:
            sink.put(inspected("top", 0))
            await line.wait_for("Cameras/top/Verdict", Code.PASS)
            sink.put(CameraStatus("top", "waiting", "it was unplugged"))
            await line.wait_for("Cameras/top/Why", Why.CAMERA)
            assert await line.read("Cameras/top/Verdict") == Code.NOT_INSPECTED
            SILENT[sink].set()
            await line.wait_for("Alive", False)  # it has said nothing for three seconds
            await line.wait_for("Cameras/side/Why", Why.LINE)
            beat = await line.read("Heartbeat")
            await asyncio.sleep(0.2)
            assert await line.read("Heartbeat") == beat

    with serving() as (sink, url):
        asyncio.run(main(sink, url))


def test_a_client_asks_reads_and_acknowledges() -> None:
    boards = Boards()

    async def main(sink: OpcUa, url: str) -> None:
        async with plc(url) as line:
            for request in (1, 2):
                await line.wait_for("Ready", True)
                await line.write("Request", request)
                await line.wait_for("Busy", True)
                sink.put(board("top", request))
                sink.put(board("side", request, Verdict.FAIL))
                await line.wait_for("Done", True)
                assert await line.read("Answers") == request
                assert await line.read("Verdict") == Code.FAIL
                assert await line.read("Cameras/top/Verdict") == Code.PASS
                await line.write("Acknowledge", request)
                await line.wait_for("Done", False)

    with serving("trigger", boards, handshake=True) as (sink, url):
        asyncio.run(main(sink, url))
    assert boards.count == 2


def test_a_client_can_write_commands_and_nothing_else() -> None:
    async def main(url: str) -> None:
        async with plc(url) as line:
            for path in ("Verdict", "Cameras/top/Verdict"):
                with pytest.raises(ua.UaStatusCodeError):
                    await line.node(path).write_value(ua.Variant(1, ua.VariantType.Byte))
            with pytest.raises(ua.UaStatusCodeError):
                await line.node("Request").write_value(ua.Variant("one", ua.VariantType.String))
            with pytest.raises(ua.UaStatusCodeError):
                await line.client.delete_nodes([line.node("Verdict")])
            with pytest.raises(ua.UaStatusCodeError):
                await line.client.nodes.objects.add_variable(2, "mine", 1)
            assert await line.read("Verdict") == Code.NOT_INSPECTED

    with serving() as (_, url):
        asyncio.run(main(url))


def test_connections_are_bounded_and_rubbish_is_harmless() -> None:
    async def main(url: str) -> None:
        port = int(url.split(":")[2].split("/")[0])
        async with plc(url) as line:
            others = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
            for other in others:
                with contextlib.suppress(OSError):
                    other.sendall(b"\xff" * 100_000)
            assert await line.read("Verdict") == Code.NOT_INSPECTED
            for other in others:
                other.close()

    with serving(connections=4) as (sink, url):
        asyncio.run(main(url))
        assert sink.status()["connections"] <= 4


def certificate(folder: Path, name: str) -> None:
    openssl = tool("openssl", "the package openssl")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-addext", f"subjectAltName=URI:urn:{name},DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", f"{name}.pem", "-out", f"{name}.crt"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    command = [openssl, "x509", "-in", f"{name}.crt", "-outform", "der", "-out", f"{name}.der"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def test_with_a_certificate_clients_must_sign_and_encrypt(tmp_path: Path) -> None:
    for name in ("line", "plc"):
        certificate(tmp_path, name)

    async def main(url: str) -> None:
        client = Client(url, timeout=20)
        client.application_uri = "urn:plc"
        own, key, server = (tmp_path / name for name in ("plc.der", "plc.pem", "line.der"))
        await client.set_security(SecurityPolicyBasic256Sha256, own, key, server_certificate=server)
        async with client:
            line = Plc(client, await client.get_namespace_index(NAMESPACE))
            assert await line.read("Verdict") == Code.NOT_INSPECTED
        with pytest.raises((ua.UaError, OSError, asyncio.TimeoutError)):
            async with plc(url):
                pass

    with serving(certificate=tmp_path / "line.der", key=tmp_path / "line.pem") as (_, url):
        asyncio.run(main(url))


@pytest.mark.slow
def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    with serving() as (_, url):
        port = int(url.split(":")[2].split("/")[0])
        for more, said in (
            ({}, f"127.0.0.1:{port}: .*in use"),
            (
                {"certificate": tmp_path / "nowhere", "key": tmp_path / "nowhere"},
                "certificate: .*nowhere: No such file",
            ),
        ):
            settings = OpcUaSettings.model_validate({"kind": "opcua", "port": port, **more})
            with pytest.raises(LineError, match=said):
                OpcUa(settings, "line-3", CAMERAS, "frame")
    with pytest.raises(ValueError, match="certificate and key come together"):
        OpcUaSettings.model_validate({"kind": "opcua", "key": "x"})


def test_the_page_has_the_nodes_as_they_are() -> None:
    page = (ROOT / "docs" / "opcua.md").read_text()
    assert as_table() in page, f"docs/opcua.md is to have this:\n\n{as_table()}"
