"""What a line's file says of metrics."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from triton_yolo.clients.stream.strict import Strict


class MetricsSettings(Strict):
    """Where Prometheus asks.

    Attributes:
        kind: "metrics".
        host: address to listen at.
        port: port to listen at.
    """

    kind: Literal["metrics"]
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=9464, ge=1, le=65535)
