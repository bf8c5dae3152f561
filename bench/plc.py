"""Command line: python -m bench.plc, a PLC that can be written to: registers, and a line of JSON for each write."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from typing import Annotated

import typer
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def main(
    port: Annotated[int, typer.Option(help="TCP port at 127.0.0.1.")],
    registers: Annotated[int, typer.Option(help="How many holding registers, from 0 on.")] = 12_000,
) -> None:
    """Serve registers until the standard input ends.

    Each write is printed with its time by CLOCK_MONOTONIC, which is the same in all processes.
    """
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(port, registers))


async def serve(port: int, registers: int) -> None:
    """Serve.

    Args:
        port: TCP port at 127.0.0.1.
        registers: how many there are.
    """

    async def act(
        function: int, start: int, address: int, count: int, current: list[int], values: Sequence[int] | None
    ) -> ExcCodes | None:
        if values is not None:
            now = time.monotonic_ns()
            content = {"at": now, "function": function, "address": address, "values": list(values)}
            print(json.dumps(content), flush=True)  # noqa: T201  # whoever started this reads it
        return None

    device = SimDevice(0, simdata=[SimData(0, count=registers, values=0, datatype=DataType.REGISTERS)], action=act)
    server = ModbusTcpServer(device, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    print(json.dumps({"listens": port}), flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.read)
    await server.shutdown()


if __name__ == "__main__":
    typer.run(main)
