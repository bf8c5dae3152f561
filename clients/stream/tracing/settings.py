"""What a line's file says of traces."""

from __future__ import annotations

from pydantic import Field, field_validator

from triton_yolo.clients.stream.addresses import collector
from triton_yolo.clients.stream.strict import Strict


class TracingSettings(Strict):
    """Where traces go.

    Attributes:
        endpoint: address of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces.
        share: of the frames of each camera that are traced, evenly, above 0 and at most 1.
    """

    endpoint: str
    share: float = Field(default=0.01, gt=0, le=1)

    _endpoint_is_an_address = field_validator("endpoint")(collector)
