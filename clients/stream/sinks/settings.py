"""What a line's file says of each kind of sink; nothing that a sink needs is loaded for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from triton_yolo.clients.stream.addresses import host_and_port
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.strict import Strict


class JsonSettings(Strict):
    """Lines of JSON in a file.

    Attributes:
        kind: "json".
        path: the file, to which lines are added.
    """

    kind: Literal["json"]
    path: Path


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


# All of them, told apart by their key ``kind``.
SinkSettings = Annotated[JsonSettings | PageSettings, Field(discriminator="kind")]
BY_KIND: dict[int | str, type[Strict]] = {
    get_args(one.model_fields["kind"].annotation)[0]: one for one in get_args(get_args(SinkSettings)[0])
}
