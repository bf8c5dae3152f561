"""What the topics are called, and what their messages hold: JSON, whose schema ``schema`` makes.

The topics are those of Sparkplug B (namespace, group, type of message, node, device), with the line as the node and
its cameras as devices. The content is JSON and not Sparkplug's protobuf, so the namespace is another one.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import models_json_schema

from triton_yolo.clients.stream.sinks.mqtt.settings import MqttSettings

LARGEST_TRIGGER = 4096  # bytes


class Topics:
    """The topics of a line."""

    def __init__(self, settings: MqttSettings, line: str) -> None:
        """Prepare.

        Args:
            settings: of the sink.
            line: name of the line.
        """
        self._root, self._line = f"{settings.prefix}/{settings.group}", line

    @property
    def line_state(self) -> str:
        """Retained; also the last will."""
        return f"{self._root}/NSTATE/{self._line}"

    def camera_state(self, camera: str) -> str:
        """Retained."""
        return f"{self._root}/DSTATE/{self._line}/{camera}"

    def results(self, camera: str) -> str:
        """A message for each frame of a camera, or for each board where boards are told apart."""
        return f"{self._root}/DDATA/{self._line}/{camera}"

    @property
    def trigger(self) -> str:
        """Where triggers are taken from."""
        return f"{self._root}/NCMD/{self._line}"


class Message(BaseModel):
    """What all messages are: further keys may come with later versions, and are to be ignored."""

    model_config = ConfigDict(extra="allow")


class LineState(Message):
    """NSTATE: how the line is, once a second. Without ``online``, no state of a camera says anything."""

    online: bool = Field(description="false once the line has ended or was lost: nothing is inspected")
    line: str
    reason: str = Field(default="", description="why it is not online")
    server: str = Field(default="", description="why the inference server is away; empty if it is there")
    heartbeat: int | None = Field(default=None, description="grows with each message")
    cameras: list[str] | None = Field(default=None, description="names of the cameras")
    waiting: int | None = Field(default=None, description="messages in the file that wait for the broker")
    dropped: int | None = Field(default=None, description="messages that were dropped since the file was full")
    missed: int | None = Field(
        default=None, description="results that were never kept, since the queue or the disk was full"
    )


class CameraState(Message):
    """DSTATE: how a camera is, when that changes, and its last verdict, once a second at most."""

    camera: str
    state: Literal["opening", "running", "waiting", "ended", "failed"] | None
    trouble: str = ""
    verdict: Literal["pass", "fail", "not inspected"] = Field(
        description="on its last frame or board; not inspected where it does not run"
    )
    number: int | None = Field(default=None, description="number of that frame, or of that board")
    captured: float | None = Field(default=None, description="its time of capture, in seconds since 1970")


class Detection(Message):
    """A box."""

    box: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2 in pixels of the frame")
    score: float = Field(ge=0, le=1)
    class_: int = Field(alias="class", ge=0)
    name: str


class Numbered(Message):
    """A result: kept in a file until the broker has it."""

    stream: str = Field(description="names the file that numbers come from; another one begins at 1 again")
    seq: int = Field(ge=1, description="number in this topic and stream: what is not greater came before")


class FrameResult(Numbered):
    """DDATA: the verdict on a frame, where each frame is a board."""

    camera: str
    number: int = Field(ge=0, description="number of the frame since the line was started")
    captured: float | None = Field(description="time of capture, in seconds since 1970")
    state: Literal["inspected", "late", "lost", "refused"]
    verdict: Literal["pass", "fail", "not inspected"]
    reason: str = Field(default="", description="why it was not inspected")
    latency_ms: float | None = Field(default=None, description="from capture to the server's answer")
    reused: bool = Field(
        default=False, description="nothing has changed since an earlier frame, whose detections these are"
    )
    age: int = Field(default=0, ge=0, description="how many frames before this one that is; 0 where it is this one")
    detections: list[Detection] | None = Field(default=None, description="there only if the frame was inspected")


class Worst(Message):
    """The defect with the highest score."""

    name: str
    score: float = Field(ge=0, le=1)


class BoardResult(Numbered):
    """DDATA: the verdict on a board as one camera sees it, where boards are told apart by motion or a trigger."""

    camera: str
    board: int = Field(ge=1, description="number of the board among those of its camera since the line was started")
    verdict: Literal["pass", "fail", "not inspected"]
    why: str = Field(default="", description="the reason in words")
    frames: int = Field(ge=0, description="frames of it that were captured")
    inspected: int = Field(ge=0, description="frames of it that were inspected")
    reused: int = Field(default=0, ge=0, description="how many of those stand on the detections of an earlier frame")
    defects: int = Field(ge=0, description="the most defects that one of its frames shows")
    worst: Worst | None
    numbers: tuple[int, int] | None = Field(description="of its first and its last frame")
    first: float | None = Field(description="time of capture of its first frame, in seconds since 1970")
    last: float | None = Field(description="the same of its last frame")
    trigger: str = Field(default="", description="id of the trigger that began it")


class Trigger(BaseModel):
    """NCMD: begins a board; an empty message does so for all cameras. At most 4096 bytes; not retained."""

    model_config = ConfigDict(extra="forbid", strict=True)

    camera: str | None = Field(default=None, max_length=64, description="its camera; all if null")
    id: str = Field(default="", max_length=64, description="comes back with the board's verdict")


MESSAGES: tuple[type[BaseModel], ...] = (LineState, CameraState, FrameResult, BoardResult, Trigger)


def read_trigger(payload: bytes) -> Trigger | None:
    """Return a trigger of its message; None if it is none."""
    if not payload:
        return Trigger()
    try:
        return Trigger.model_validate_json(payload)
    except ValidationError:
        return None


def schema() -> dict[str, Any]:
    """Return the JSON Schema of all messages; ``$defs`` has each by name."""
    _, definitions = models_json_schema([(model, "validation") for model in MESSAGES], title="triton-yolo over MQTT")
    names = [model.__name__ for model in MESSAGES]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **definitions,
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in names],
    }
