"""Command line: python -m deploy.plc, a stand-in for a PLC: registers that a line writes into, and a program on them.

The program is what docs/modbus.md asks of one: it looks at the registers in each scan, trusts nothing without a
heartbeat, and says for each board whether it may pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import typer
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from triton_yolo.clients.stream.sinks.modbus.registers import (
    BITS,
    CAMERA,
    CAMERA_REGISTERS,
    LINE,
    LINE_REGISTERS,
    value_of,
)
from triton_yolo.clients.stream.sinks.plc.state import Code

SCAN_SECONDS = 0.05
HEARTBEAT_SECONDS = 0.5  # without another one nothing is good
REGISTERS = 10_002


def main(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 5020,
) -> None:
    """Be a PLC until the process is ended, and print a line for each board and for each change of the line's state."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(host, port))


@dataclass
class Program:
    """What the PLC remembers between two scans.

    Attributes:
        healthy: whether there is a heartbeat of a line that is alive.
        beat: the last heartbeat.
        beaten: when it came.
        sequences: the last result of each camera.
    """

    healthy: bool = False
    beat: int = 0
    beaten: float = float("-inf")
    sequences: dict[int, int] = field(default_factory=dict)

    def scan(self, words: Sequence[int], now: float) -> Iterator[str]:
        """Yield what there is to say.

        Args:
            words: the registers.
            now: seconds, by a clock that no one sets.
        """
        if (beat := value_of(words, LINE, "heartbeat")) != self.beat:
            self.beat, self.beaten = beat, now
        alive = bool(value_of(words, LINE, "status") & 1 << BITS.index("alive"))
        healthy = alive and now - self.beaten < HEARTBEAT_SECONDS
        if healthy != self.healthy:
            self.healthy = healthy
            yield "the line is there" if healthy else "NO HEARTBEAT: nothing may pass"
        for camera in range(value_of(words, LINE, "cameras") if healthy else 0):
            block = LINE_REGISTERS + camera * CAMERA_REGISTERS
            sequence = value_of(words, CAMERA, "sequence", block)
            if sequence not in (0, self.sequences.get(camera)):
                self.sequences[camera] = sequence
                code = Code(value_of(words, CAMERA, "verdict", block))
                number, defects = (value_of(words, CAMERA, name, block) for name in ("number", "defects"))
                gate = "passes" if code == Code.PASS else "is taken out"
                words_of = code.name.lower().replace("_", " ")
                yield f"camera {camera} board {number}: {words_of}, {defects} defects; it {gate}"


async def serve(host: str, port: int) -> None:
    """Serve registers, and run the program.

    Args:
        host: address to listen at.
        port: port to listen at.
    """
    words: list[int] = []

    async def act(
        function: int, start: int, address: int, count: int, registers: list[int], values: Sequence[int] | None
    ) -> None:
        nonlocal words
        words = registers

    device = SimDevice(0, simdata=[SimData(0, count=REGISTERS, datatype=DataType.REGISTERS)], action=act)
    server = ModbusTcpServer(device, address=(host, port))
    await server.serve_forever(background=True)
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    typer.echo(f"a PLC listens at {host}:{port}")
    program = Program()
    while not end.is_set():
        for text in program.scan(words, time.monotonic()) if words else ():
            typer.echo(text)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(end.wait(), SCAN_SECONDS)
    await server.shutdown()


if __name__ == "__main__":
    typer.run(main)
