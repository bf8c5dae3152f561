"""What a line's file says of each kind of sink; nothing that a sink needs is loaded for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

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
        synchronous: "normal" may lose the last seconds when the power fails, "full" waits for the disk at each
            transaction; neither loses anything when the process is killed.
    """

    kind: Literal["log"]
    path: Path
    keep_days: float = Field(default=90, gt=0, le=36_500)
    synchronous: Literal["normal", "full"] = "normal"


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
    JsonSettings | LogSettings | MetricsSettings | ModbusSettings | MqttSettings | OpcUaSettings | RecordsSettings,
    Field(discriminator="kind"),
]
