"""What a line's file says of OPC UA."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from triton_yolo.clients.stream.sinks.plc.settings import PlcSettings


class OpcUaSettings(PlcSettings):
    """A server that a PLC or a SCADA system reads.

    Attributes:
        kind: "opcua".
        host: address to listen at.
        port: port to listen at.
        beat_ms: milliseconds between two beats, with which all values are written.
        connections: how many there may be.
        certificate: the server's certificate, DER or PEM; with it, clients must sign and encrypt.
        key: its private key.
    """

    kind: Literal["opcua"]
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=4840, ge=1, le=65535)
    beat_ms: float = Field(default=100, ge=20, le=10_000)
    connections: int = Field(default=16, ge=1, le=1000)
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _belong_together(self) -> OpcUaSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key come together")
        return self
