"""What a line's file says of Modbus TCP."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from triton_yolo.clients.stream.sinks.plc.settings import PlcSettings


class ModbusSettings(PlcSettings):
    """Registers of a PLC, or for one.

    Attributes:
        kind: "modbus".
        mode: "server": the PLC reads and writes registers here; "client": this writes and reads registers there.
        host: address to listen at, or of the PLC.
        port: its port.
        unit: number of the PLC's unit, in client mode; a server answers as any.
        results: first register of the results.
        commands: first register of the commands.
        beat_ms: milliseconds between two beats, in client mode also between two looks at the commands.
        connections: how many a server takes; one more takes the place of the one that is silent longest.
        requests_per_second: how many a server answers on each connection; more of them wait.
    """

    kind: Literal["modbus"]
    mode: Literal["client", "server"]
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=502, ge=1, le=65535)
    unit: int = Field(default=1, ge=0, le=255)
    results: Annotated[int, Field(ge=0, le=65535)] = 0
    commands: Annotated[int, Field(ge=0, le=65534)] = 10_000
    beat_ms: float = Field(default=100, ge=10, le=10_000)
    connections: int = Field(default=8, ge=1, le=256)
    requests_per_second: float = Field(default=100, ge=1, le=10_000)
