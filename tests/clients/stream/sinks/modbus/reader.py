"""A PLC in a process of its own that reads a server: ``python -m tests...reader PORT CAMERAS SECONDS``.

It reads as fast as it may, looks whether each answer is whole, and prints what it has seen.
"""

from __future__ import annotations

import json
import sys
import time

from pymodbus.client import ModbusTcpClient

from triton_yolo.clients.stream.sinks.modbus.registers import CAMERA_REGISTERS, LINE_REGISTERS, count_of


def main(port: int, cameras: int, seconds: float) -> None:
    """Read, and print what was seen as JSON."""
    client = ModbusTcpClient("127.0.0.1", port=port, timeout=10)
    assert client.connect()
    seen: set[int] = set()
    reads, torn, end = 0, list[list[int]](), time.monotonic() + seconds
    while time.monotonic() < end:
        words = client.read_input_registers(0, count=count_of(cameras), device_id=1).registers
        reads += 1
        for camera in range(cameras):
            place = LINE_REGISTERS + camera * CAMERA_REGISTERS
            block = words[place : place + CAMERA_REGISTERS]
            sequence = block[1] << 16 | block[2]
            number, defects = block[3] << 16 | block[4], block[7]
            seen.add(sequence)
            # The writer gives frame n so many defects as n modulo 4 says, and counts sequence from 1.
            whole = not sequence or (block[15] == block[2] and sequence == number + 1 and defects == number % 4)
            if not whole:
                torn.append(block)
    client.close()
    print(json.dumps({"reads": reads, "results": len(seen), "torn": torn[:3]}))  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
