"""What a line's file says of each kind of sink; nothing that a sink needs is loaded for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from triton_yolo.clients.stream.addresses import host_and_port
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.sinks.metrics.settings import MetricsSettings
from triton_yolo.clients.stream.sinks.modbus.settings import ModbusSettings
from triton_yolo.clients.stream.sinks.mqtt.settings import MqttSettings
from triton_yolo.clients.stream.sinks.opcua.settings import OpcUaSettings
from triton_yolo.clients.stream.strict import Strict
from triton_yolo.clients.stream.verdict import Verdict


class JsonSettings(Strict):
    """Lines of JSON in a file.

    Attributes:
        kind: "json".
        path: the file, to which lines are added.
    """

    kind: Literal["json"]
    path: Path


class LogSettings(Strict):
    """The line's log in SQLite.

    Attributes:
        kind: "log".
        path: the file; several lines may have the same one.
        keep_days: age in days from which on rows are removed.
        synchronous: "normal" may lose the last five seconds when the power fails, "full" waits for the disk at each
            transaction; neither loses a transaction when the process is killed.
    """

    kind: Literal["log"]
    path: Path
    keep_days: float = Field(default=90, gt=0, le=36_500)
    synchronous: Literal["normal", "full"] = "normal"


class PageSettings(Strict):
    """The line's page in a browser.

    Attributes:
        kind: "page".
        listen: HOST:PORT to listen on; port 0 is a free one.
        names: host names under which browsers know this machine, beside addresses, localhost and its own name.
        pictures_per_second: of each camera, at most.
        picture_size: longest side of a camera's picture in pixels.
        failure_size: longest side of a failure's picture in pixels.
        failures_mb: most megabytes of pictures of failures; the oldest goes first.
        unchanged_after: seconds with the very same picture after which a camera counts as frozen; .inf for never.
        viewers: how many may look at the same time.
        connections: how many connections there may be; each viewer has one, and some more while its page is loaded.
    """

    kind: Literal["page"]
    listen: str = "127.0.0.1:8080"
    names: tuple[str, ...] = ()
    pictures_per_second: float = Field(default=5, gt=0, le=60)
    picture_size: int = Field(default=640, ge=64, le=4096)
    failure_size: int = Field(default=1280, ge=64, le=8192)
    failures_mb: float = Field(default=64, gt=0, le=100_000)
    unchanged_after: float = Field(default=10, gt=0, allow_inf_nan=True)
    viewers: int = Field(default=16, ge=1, le=1000)
    connections: int = Field(default=128, ge=8, le=4096)

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, listen: str) -> str:
        try:
            host_and_port(listen)
        except LineError as error:
            raise ValueError(str(error)) from None
        return listen


class RecordsSettings(Strict):
    """Pictures of failures, and films.

    Attributes:
        kind: "records".
        folder: where to, one for each line.
        disk_mb: megabytes that all records may take; the oldest are removed where they would take more.
        of: verdicts on frames of which pictures are kept.
        pictures: with boxes, plain, or both.
        longest: length of the longest side of those pictures, in pixels; 0 for that of the frames.
        quality: JPEG quality of those pictures, 1..100.
        interval_s: shortest time between pictures of one camera, in seconds.
        before_s: seconds before a failure that its film shows.
        after_s: seconds behind it.
        film_fps: frames a second in films of failures.
        film_longest: length of the longest side of films, in pixels.
        memory_mb: megabytes that the pictures of the last seconds may take.
        everything: whether all that the cameras see is filmed.
        film_s: length of one film of everything, in seconds.
    """

    kind: Literal["records"]
    folder: Path
    disk_mb: float = Field(default=10_000, gt=0)
    of: tuple[Verdict, ...] = (Verdict.FAIL,)
    pictures: Literal["boxes", "plain", "both"] = "both"
    longest: int = Field(default=0, ge=0)
    quality: int = Field(default=90, ge=1, le=100)
    interval_s: float = Field(default=0, ge=0)
    before_s: float = Field(default=0, ge=0, le=600)
    after_s: float = Field(default=0, ge=0, le=600)
    film_fps: float = Field(default=5, gt=0, le=1000)
    film_longest: int = Field(default=640, ge=32)
    memory_mb: float = Field(default=64, gt=0)
    everything: bool = False
    film_s: float = Field(default=60, ge=1, le=3600)


# All of them, told apart by their key ``kind``.
SinkSettings = Annotated[
    JsonSettings
    | LogSettings
    | MetricsSettings
    | ModbusSettings
    | MqttSettings
    | OpcUaSettings
    | PageSettings
    | RecordsSettings,
    Field(discriminator="kind"),
]
