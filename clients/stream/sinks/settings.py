"""What a line's file says of each kind of sink; nothing that a sink needs is loaded for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from triton_yolo.clients.stream.sinks.metrics.settings import MetricsSettings
from triton_yolo.clients.stream.sinks.modbus.settings import ModbusSettings
from triton_yolo.clients.stream.sinks.mqtt.settings import MqttSettings
from triton_yolo.clients.stream.strict import Strict


class JsonSettings(Strict):
    """Lines of JSON in a file.

    Attributes:
        kind: "json".
        path: the file, to which lines are added.
    """

    kind: Literal["json"]
    path: Path


# All of them, told apart by their key ``kind``.
SinkSettings = Annotated[JsonSettings | MetricsSettings | ModbusSettings | MqttSettings, Field(discriminator="kind")]
