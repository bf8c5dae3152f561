"""LINE.yaml: the cameras of a line, and how they are served."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from triton_yolo.clients.stream.errors import LineError, SourceError
from triton_yolo.clients.stream.rules import VerdictSettings
from triton_yolo.clients.stream.sinks.settings import SinkSettings
from triton_yolo.clients.stream.sources import kind_of
from triton_yolo.clients.stream.sources.options import size_of
from triton_yolo.clients.stream.strict import NAME, Strict
from triton_yolo.clients.stream.tracing.settings import TracingSettings


class TileSettings(Strict):
    """How a camera's changes are sent.

    Attributes:
        side: of a tile, in pixels.
        quality: of JPEGs; None for pixels without loss.
        key_interval: frames from one that is sent whole to the next.
        most_noise: the largest deviation of a pixel that is taken for the sensor's noise, in grey levels.
        link_mbits: bandwidth of the link to the server, in Mbit/s; measured if None.
    """

    side: int = Field(default=64, ge=16, le=512, multiple_of=16)
    quality: Annotated[int, Field(ge=1, le=100)] | None = 90
    key_interval: int = Field(default=1800, ge=1)
    most_noise: float = Field(default=4.0, ge=0, le=64)
    link_mbits: Annotated[float, Field(gt=0)] | None = None


class CameraConfig(Strict):
    """One camera.

    Attributes:
        name: its name in results; no two cameras of a line have the same.
        uri: what to open; ``sources.FORMS`` lists the forms.
        fps: frames a second; the source's own rate if None.
        size: HxW that the camera must deliver; not checked if None.
        silent_after: seconds without a frame after which a camera is opened anew; .inf for one that is triggered.
        transport: "frames" sends each frame, "tiles" what has changed in it: for a camera that does not move, and a
            server elsewhere.
        tiles: how changes are sent.
        options: further options of its kind.
    """

    name: str = Field(pattern=NAME)
    uri: str
    fps: Annotated[float, Field(gt=0, le=10_000)] | None = None
    size: str | None = None
    silent_after: float = Field(default=5.0, gt=0, allow_inf_nan=True)
    transport: Literal["frames", "tiles"] = "frames"
    tiles: TileSettings = TileSettings()
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("uri")
    @classmethod
    def _is_a_camera(cls, uri: str) -> str:
        try:
            kind_of(uri)
        except LineError as error:
            raise ValueError(str(error)) from None
        return uri

    @field_validator("size")
    @classmethod
    def _is_a_size(cls, size: str | None) -> str | None:
        try:
            return size and "x".join(map(str, size_of(size)))
        except SourceError as error:
            raise ValueError(str(error)) from None


class AccessSettings(Strict):
    """What a line shows a server that is not open to everybody.

    Attributes:
        ca: certificates of the authorities that may vouch for the server; those that the system knows if None.
        certificate: the line's own certificate, where the server asks for one.
        key: its private key.
        api_key: file whose first line is NAME KEY.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    api_key: Path | None = None


class Line(Strict):
    """A line of cameras.

    Attributes:
        name: name of the line, and of its ring in shared memory.
        url: address of the server.
        access: what the line shows there.
        memory: "system" names the ring's slots in requests, "cuda" copies them to the GPU first, "plain" sends the
            frames.
        deadline_ms: milliseconds from capture after which a frame is late: it is not sent any more, and an answer does
            not count.
        window_ms: longest time that a frame waits for other cameras' frames, in milliseconds.
        in_flight: requests, each with a frame of every camera that has one, that are sent before one is answered.
        backlog: frames of a camera that may wait; where there are more, the newest is sent and the others are late.
        slots: slots of each camera in the ring.
        huge_pages: ask for pages of 2 MiB for the ring.
        score_threshold: lowest score to report, 0..1; the server's default if None.
        verdict: the rules by which detections become verdicts.
        sinks: where verdicts go, beside what the command line says.
        tracing: where traces of frames go; nowhere if None.
        cameras: the cameras.
    """

    name: str = Field(pattern=NAME)
    url: str = "127.0.0.1:8001"
    access: AccessSettings = AccessSettings()
    memory: Literal["system", "cuda", "plain"] = "system"
    deadline_ms: float = Field(default=500, gt=0, le=3_600_000)
    window_ms: float = Field(default=5, ge=0, le=1000)
    in_flight: int = Field(default=2, ge=1, le=64)
    backlog: int = Field(default=2, ge=1)
    slots: int = Field(default=8, ge=3, le=1024)
    huge_pages: bool = False
    score_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    verdict: VerdictSettings = VerdictSettings()
    sinks: tuple[SinkSettings, ...] = ()
    tracing: TracingSettings | None = None
    cameras: tuple[CameraConfig, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _rules_name_cameras(self) -> Line:
        names = {camera.name for camera in self.cameras}
        for place, rule in enumerate(self.verdict.rules):
            if unknown := [name for name in rule.cameras if name not in names]:
                raise ValueError(f"verdict.rules[{place}].cameras: there is no camera {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Line:
        names = [camera.name for camera in self.cameras]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise ValueError(f"cameras[{place}].name: {name!r} is the name of cameras[{names.index(name)}] too")
        if self.backlog > self.slots - 2:
            raise ValueError(
                f"backlog: {self.backlog} frames need {self.backlog + 2} slots, and there are {self.slots}"
            )
        return self


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """YAML in which a key that stands twice is an error, and not the first of them forgotten."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"the key {key.value!r} stands twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def read_line(path: Path, **given: Any) -> Line:
    """Read a line's file.

    Args:
        path: of the file.
        given: attributes of Line, in place of what the file says.

    Raises:
        LineError: says in one line what is wrong with it, and where.
    """
    try:
        content = yaml.load(path.read_text(), _Loader)  # a SafeLoader
    except OSError as error:
        raise LineError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LineError(f"{path}: no text in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise LineError(f"{path}{where}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise LineError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise LineError(f"{path}: a line is a mapping with the key 'cameras'; got {type(content).__name__}")
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", path.stem).lstrip("_.-")[:64]
    return checked({"name": name or "line", **content, **given}, str(path))


def line_of(uris: Iterable[str], **settings: Any) -> Line:
    """Return a line of cameras that have no names of their own.

    Args:
        uris: one for each camera, which are named camera-1, camera-2 and so on.
        settings: attributes of Line; "fps" is that of each camera.

    Raises:
        LineError: one of them is wrong.
    """
    fps = settings.pop("fps", None)
    cameras = [{"name": f"camera-{number}", "uri": uri, "fps": fps} for number, uri in enumerate(uris, 1)]
    return checked({**settings, "cameras": cameras}, "")


def checked(content: dict[str, Any], source: str) -> Line:
    """Return a line of its content.

    Args:
        content: as YAML has it.
        source: where it comes from, for messages.

    Raises:
        LineError: says what is wrong, and where.
    """
    try:
        return Line.model_validate(content)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        where = _place(first["loc"])
        words = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            words = f"unknown key; there are {', '.join(_keys(first['loc'][:-1]))}"
        elif first["type"] == "union_tag_not_found":
            words = "the key 'kind' is missing"
        more = f" (and {len(others)} more)" if others else ""
        raise LineError(": ".join(part for part in (source, where, words) if part) + more) from None


def _keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that there are at a place of a line's file."""
    node = schema = Line.model_json_schema()
    for part in ("", *location):
        if isinstance(part, int):
            node = node["items"]
        elif part in node.get("properties", {}):
            node = node["properties"][part]
        elif "discriminator" in node:
            node = {"$ref": node["discriminator"]["mapping"][part]}
        while not {"$ref", "anyOf"}.isdisjoint(node):
            node = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node["anyOf"][0]
    return list(node.get("properties", {}))


def _place(location: tuple[int | str, ...]) -> str:
    """Return where something stands, such as cameras[1].fps."""
    if location[:1] == ("sinks",) and len(location) > 3:
        location = (*location[:2], *location[3:])  # without the kind, which pydantic names there
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
