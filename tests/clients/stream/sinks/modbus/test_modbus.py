"""What a real Modbus server and real clients, in other processes, see of a line."""

from __future__ import annotations

import contextlib
import json
import math
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from tests.clients.stream.sinks.results import inspected, line_status, pulse
from tests.conftest import ROOT
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.events import CameraStatus
from triton_yolo.clients.stream.sinks.modbus.registers import CAMERA, LINE, LINE_REGISTERS, count_of, value_of
from triton_yolo.clients.stream.sinks.modbus.settings import ModbusSettings
from triton_yolo.clients.stream.sinks.modbus.sink import Modbus
from triton_yolo.clients.stream.sinks.plc.state import Code, Why
from triton_yolo.clients.stream.verdict import BoardVerdict, Verdict
from triton_yolo.server.process import free_addresses

CAMERAS = ("top", "side")
PATIENCE = 60.0
COMMANDS = 1000
EASY = {"stale_after_s": math.inf, "answer_within_s": 60}  # a machine that stalls is no fault
READY, BUSY, DONE, STALE, ALIVE, AWAY = (1 << place for place in range(6))


SILENT: dict[Modbus, threading.Event] = {}  # makes a line hang


def settings(mode: str, port: int, **more: Any) -> ModbusSettings:
    content = {"kind": "modbus", "mode": mode, "port": port, "commands": COMMANDS, "beat_ms": 20, **EASY, **more}
    return ModbusSettings.model_validate(content)


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


@contextlib.contextmanager
def serving(boards: str = "frame", trigger: Any = None, **more: Any) -> Iterator[tuple[Modbus, int]]:
    """A line's sink that is a server, whose cameras run."""
    port = free_addresses().grpc
    sink = Modbus(settings("server", port, **more), CAMERAS, boards)
    if trigger:
        sink.trigger = trigger
    try:
        runs(sink)
        with pulse(sink, *CAMERAS) as silent:
            SILENT[sink] = silent
            yield sink, port
    finally:
        sink.close()


def runs(sink: Modbus) -> None:
    sink.put(line_status(*CAMERAS))
    for camera in CAMERAS:
        sink.put(CameraStatus(camera, "running", ""))


@contextlib.contextmanager
def plc(port: int) -> Iterator[ModbusTcpClient]:
    """A PLC that reads and writes a server."""
    client = ModbusTcpClient("127.0.0.1", port=port, timeout=5, retries=0)
    assert client.connect()
    yield client
    client.close()


def read(client: ModbusTcpClient) -> list[int]:
    answer = client.read_holding_registers(0, count=count_of(len(CAMERAS)), device_id=1)
    assert not answer.isError(), answer
    return list(answer.registers)


def verdict(words: list[int], camera: int) -> int:
    return value_of(words, CAMERA, "verdict", LINE_REGISTERS + 16 * camera)


def test_a_plc_reads_the_newest_results_with_either_function() -> None:
    with serving() as (sink, port), plc(port) as client:
        assert verdict(read(client), 0) == Code.NOT_INSPECTED
        sink.put(inspected("top", 0))
        sink.put(inspected("side", 0, (1, 0.75)))
        words = until(lambda: (found := read(client)) and value_of(found, LINE, "sequence") == 2 and found)
        assert (verdict(words, 0), verdict(words, 1)) == (Code.PASS, Code.FAIL)
        assert value_of(words, LINE, "verdict") == Code.FAIL
        assert value_of(words, CAMERA, "worst score", LINE_REGISTERS + 16) == 7500
        assert value_of(words, LINE, "status") & ALIVE
        assert client.read_input_registers(0, count=len(words), device_id=77).registers[4:8] == words[4:8]


def test_the_heart_beats_while_the_line_is_alive_and_stands_when_it_hangs() -> None:
    with serving() as (sink, port), plc(port) as client:
        sink.put(inspected("top", 0))
        until(lambda: verdict(read(client), 0) == Code.PASS)
        first = value_of(read(client), LINE, "heartbeat")
        until(lambda: value_of(read(client), LINE, "heartbeat") != first)
        SILENT[sink].set()
        until(lambda: not value_of(read(client), LINE, "status") & ALIVE)  # it has said nothing for three seconds
        words = read(client)
        time.sleep(0.2)
        again = read(client)
        assert value_of(words, LINE, "heartbeat") == value_of(again, LINE, "heartbeat")
        assert verdict(words, 0) == Code.NOT_INSPECTED
        assert value_of(words, CAMERA, "why", LINE_REGISTERS) == Why.LINE
        assert value_of(words, LINE, "status") & STALE


def test_a_dead_camera_and_an_old_result_show_at_once() -> None:
    with serving(stale_after_s=0.5) as (sink, port), plc(port) as client:
        sink.put(inspected("top", 0))
        until(lambda: value_of(read(client), CAMERA, "why", LINE_REGISTERS) == Why.STALE)
        sink.put(CameraStatus("top", "waiting", "it was unplugged"))
        until(lambda: value_of(read(client), CAMERA, "why", LINE_REGISTERS) == Why.CAMERA)


def test_no_answer_is_half_of_one_result_and_half_of_another() -> None:
    with serving(requests_per_second=10_000) as (sink, port):
        command = [sys.executable, "-m", "tests.clients.stream.sinks.modbus.reader", str(port), "2", "3"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as reader:
            number = 0
            while reader.poll() is None:
                for camera in CAMERAS:
                    sink.put(inspected(camera, number, *[(0, 0.5)] * (number % 4)))
                number += 1
                while sink.queued > 100:
                    time.sleep(0.001)
            assert reader.stdout
            found = json.loads(reader.stdout.read())
    assert found["torn"] == []
    assert found["reads"] > 20
    assert found["results"] > 10


class Boards:
    """Begins boards, as a line's judge does."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, camera: str | None) -> dict[str, int]:
        self.count += 1
        return dict.fromkeys(CAMERAS, self.count)


def board(camera: str, number: int, found: Verdict = Verdict.PASS) -> BoardVerdict:
    return BoardVerdict(camera, number, found, last_ns=time.time_ns())


def test_a_plc_asks_reads_and_acknowledges() -> None:
    boards = Boards()
    with serving("trigger", boards, handshake=True) as (sink, port), plc(port) as client:
        for request in (1, 2, 3):
            until(lambda: value_of(read(client), LINE, "status") & READY)
            answer = client.write_register(COMMANDS, request, device_id=1)
            assert (answer.isError(), answer.registers) == (False, [request])
            assert value_of(read(client), LINE, "status") & BUSY
            assert boards.count == request
            sink.put(board("top", request))
            sink.put(board("side", request, Verdict.FAIL))
            until(lambda: value_of(read(client), LINE, "status") & DONE)
            sink.put(board("side", request + 100))  # of another trigger
            words = read(client)
            assert value_of(words, LINE, "request") == request == value_of(words, LINE, "sequence")
            assert (verdict(words, 0), verdict(words, 1)) == (Code.PASS, Code.FAIL)
            assert not client.write_registers(COMMANDS, [request, request], device_id=1).isError()
            assert not value_of(read(client), LINE, "status") & (BUSY | DONE)


def test_without_a_handshake_the_request_is_a_trigger() -> None:
    boards = Boards()
    with serving("trigger", boards) as (_, port), plc(port) as client:
        for request in (1, 1, 2, 0):
            assert not client.write_register(COMMANDS, request, device_id=1).isError()
        assert boards.count == 2


@pytest.mark.parametrize(
    ("address", "values", "code"),
    [(0, [1], 2), (COMMANDS - 1, [1, 1], 2), (COMMANDS, [1, 1, 1], 2), (COMMANDS + 2, [1], 2), (40_000, [1], 2)],
)
def test_a_plc_can_write_commands_and_nothing_else(address: int, values: list[int], code: int) -> None:
    with serving() as (_, port), plc(port) as client:
        answer = client.write_registers(address, values, device_id=1)
        assert answer.isError()
        assert answer.exception_code == code
        assert read(client)[0] == 1


def test_other_functions_are_refused() -> None:
    with serving() as (_, port), plc(port) as client:
        for answer in (client.write_coil(COMMANDS, True, device_id=1), client.read_coils(0, count=8, device_id=1)):
            assert answer.isError()
        answer = client.mask_write_register(address=COMMANDS, and_mask=0, or_mask=1, device_id=1)
        assert answer.isError()


def test_one_connection_more_than_there_may_be_takes_the_place_of_the_one_that_is_silent_longest() -> None:
    with serving(connections=4) as (sink, port), plc(port) as client:
        read(client)
        others = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
        until(lambda: sink.status()["refused"] >= 1)
        with contextlib.suppress(ModbusException):
            client.read_holding_registers(0, count=1, device_id=1)
        until(lambda: sink.status()["connections"] <= 4)
        with plc(port) as again:
            assert read(again)[0] == 1
        for other in others:
            other.close()


def test_a_client_that_floods_waits_and_others_are_answered() -> None:
    request = bytes([0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 48])
    with serving(requests_per_second=50) as (sink, port), plc(port) as client:
        flood = socket.create_connection(("127.0.0.1", port))
        flood.setblocking(False)
        stop = threading.Event()
        answers = 0

        def pour() -> None:
            nonlocal answers
            while not stop.is_set():
                with contextlib.suppress(BlockingIOError):
                    flood.send(request)
                with contextlib.suppress(BlockingIOError):
                    answers += len(flood.recv(1_000_000)) // 105
                time.sleep(0.0002)

        pouring = threading.Thread(target=pour)
        pouring.start()
        begun, reads = time.monotonic(), 0
        while time.monotonic() < begun + 2:
            sink.put(inspected("top", reads))
            read(client)
            reads += 1
        seconds = time.monotonic() - begun
        until(lambda: sink.status()["slowed"])
        stop.set()
        pouring.join()
        flood.close()
        assert reads >= 10
        assert answers <= 20 + 50 * (seconds + 1) + 5
        until(lambda: value_of(read(client), LINE, "sequence") == reads)
        assert sink.missed == 0


@pytest.mark.parametrize(
    "rubbish", [b"\xff" * 10_000, b"GET / HTTP/1.1\r\n\r\n", b"\0\1\0\0\xff\xff\1\3", b"\0\1\0\0\0\2\1\xff" * 9]
)
def test_rubbish_is_harmless(rubbish: bytes) -> None:
    with serving() as (_, port), socket.create_connection(("127.0.0.1", port)) as other:
        other.sendall(rubbish)
        with plc(port) as client:
            assert read(client)[0] == 1


def test_a_port_that_is_taken_is_said() -> None:
    with serving() as (_, port), pytest.raises(LineError, match=f"sinks: modbus: 127.0.0.1:{port}: .*in use"):
        Modbus(settings("server", port), CAMERAS, "frame")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"results": 990}, "commands: register 1000 lies in the results, 990 to 1037"),
        ({"results": 1001}, "commands: register 1000 lies in the results"),
        ({"results": 65_500}, "results: 48 registers do not fit behind 65500"),
    ],
)
def test_registers_that_do_not_fit_are_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(LineError, match=said):
        Modbus(settings("client", 1, **more), CAMERAS, "frame")


class Plc:
    """The program ``python -m bench.plc``, into whose registers a line writes; a context manager."""

    def __init__(self) -> None:
        self.port = free_addresses().grpc
        self.writes: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.words = [0] * count_of(len(CAMERAS))

    def __enter__(self) -> Plc:
        command = [sys.executable, "-m", "bench.plc", "--port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout
        assert json.loads(self.process.stdout.readline()) == {"listens": self.port}
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        assert self.process.stdout and self.process.stdin
        self.process.stdout.close()
        self.process.stdin.close()

    def _read(self, stdout: Any) -> None:
        for line in stdout:
            self.writes.put(json.loads(line))

    def wait_for(self, condition: Callable[[list[int]], Any]) -> list[int]:
        """Take writes until the results are as they should be."""
        end = time.monotonic() + PATIENCE
        while not condition(self.words):
            write = self.writes.get(timeout=max(0.01, end - time.monotonic()))
            if write["address"] < COMMANDS:
                assert write["function"] == 16
                assert write["address"] == 0
                assert len(write["values"]) == len(self.words)  # all in one call
                self.words = write["values"]
        return self.words


@contextlib.contextmanager
def writing(port: int, boards: str = "frame", trigger: Any = None, **more: Any) -> Iterator[Modbus]:
    sink = Modbus(settings("client", port, **more), CAMERAS, boards)
    if trigger:
        sink.trigger = trigger
    try:
        runs(sink)
        with pulse(sink, *CAMERAS):
            yield sink
    finally:
        sink.close()


def test_a_line_writes_results_into_a_plc_and_says_when_it_ends() -> None:
    with Plc() as other:
        with writing(other.port) as sink:
            sink.put(inspected("top", 0))
            words = other.wait_for(lambda words: verdict(words, 0) == Code.PASS)
            assert value_of(words, LINE, "status") & ALIVE
            beat = value_of(words, LINE, "heartbeat")
            other.wait_for(lambda words: value_of(words, LINE, "heartbeat") > beat + 2)
        words = other.wait_for(lambda words: not value_of(words, LINE, "status") & ALIVE)
        assert verdict(words, 0) == Code.NOT_INSPECTED


def test_a_plc_that_is_written_to_asks_and_acknowledges_in_its_own_registers() -> None:
    boards = Boards()
    with Plc() as other, plc(other.port) as own, writing(other.port, "trigger", boards, handshake=True) as sink:
        for request in (1, 2):
            other.wait_for(lambda words: value_of(words, LINE, "status") & READY)
            own.write_register(COMMANDS, request, device_id=1)
            other.wait_for(lambda words: value_of(words, LINE, "status") & BUSY)
            for camera in CAMERAS:
                sink.put(board(camera, request))
            words = other.wait_for(lambda words: value_of(words, LINE, "status") & DONE)
            assert value_of(words, LINE, "verdict") == Code.PASS
            own.write_register(COMMANDS + 1, request, device_id=1)
        other.wait_for(lambda words: value_of(words, LINE, "status") & READY)


def test_a_plc_that_was_away_gets_the_newest_results_when_it_is_back() -> None:
    other = Plc()
    with writing(other.port) as sink:
        for number in range(500):
            sink.put(inspected("top", number))
        until(lambda: not sink.queued and sink.status()["away"])
        for _ in range(2):
            with other:
                words = other.wait_for(lambda words: value_of(words, LINE, "sequence"))
                assert value_of(words, CAMERA, "number", LINE_REGISTERS) == 499
                until(lambda: not sink.status()["away"])
            until(lambda: sink.status()["away"])
        assert sink.missed == 0


def test_a_plc_that_is_frozen_slows_nothing() -> None:
    with Plc() as other, writing(other.port) as sink:
        other.wait_for(lambda words: value_of(words, LINE, "status") & ALIVE)
        other.process.send_signal(signal.SIGSTOP)
        for number in range(2000):
            sink.put(inspected("top", number))
        until(lambda: sink.status()["away"])
        other.process.send_signal(signal.SIGCONT)
        other.wait_for(lambda words: value_of(words, CAMERA, "number", LINE_REGISTERS) == 1999)
        assert sink.missed == 0


def test_a_plc_that_lacks_the_registers_is_said() -> None:
    with Plc() as other, writing(other.port, results=20_000) as sink:
        until(lambda: "the PLC refuses registers 20000 to 20047" in sink.status()["away"])
