"""What a line's file says of a broker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from triton_yolo.clients.stream.strict import NAME, Strict


class TlsSettings(Strict):
    """How a connection is encrypted.

    Attributes:
        ca: certificates of the authorities that are trusted; those of the system if None.
        certificate: one's own certificate, where the other side asks for it.
        key: its private key.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class MqttSettings(Strict):
    """A broker, over MQTT 5.

    Attributes:
        kind: "mqtt".
        host: name or address of the broker.
        port: its port; 1883, or 8883 with ``tls``, if None.
        prefix: first levels of all topics.
        group: the level behind them: a plant, a hall.
        client: name of this client; no two of a broker have the same. It is made of the line's name if None.
        tls: how the connection is encrypted; it is not if None.
        user: name to log in with.
        password_file: file whose first line is the password.
        keepalive_s: seconds after which a broker that says nothing is given up, and the broker gives the line up after
            one and a half times as long.
        states: quality of service of states; that of verdicts and triggers is 1.
        triggers: whether triggers are taken from the broker.
        keep: file in which verdicts wait for the broker; in the user's folder for state if None.
        keep_mb: how much may wait, in megabytes; beyond, the oldest are dropped.
    """

    kind: Literal["mqtt"]
    host: str = Field(min_length=1)
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    prefix: str = Field(default="triton-yolo/v1", pattern=r"^[\w.-]+(/[\w.-]+)*$", max_length=200)
    group: str = Field(default="plant", pattern=NAME)
    client: Annotated[str, Field(pattern=NAME)] | None = None
    tls: TlsSettings | None = None
    user: str | None = None
    password_file: Path | None = None
    keepalive_s: int = Field(default=10, ge=2, le=3600)
    states: Literal[0, 1] = 1
    triggers: bool = True
    keep: Path | None = None
    keep_mb: float = Field(default=256, gt=0, le=1_000_000)
