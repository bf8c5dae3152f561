"""Command line: triton-yolo stream."""

from __future__ import annotations

import logging
import math
import os
import re
from functools import partial
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from triton_yolo.cli.exits import INTERRUPTED, leave
from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.stream.addresses import host_and_port
from triton_yolo.clients.stream.aside import AsideHandler
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.line import Line, line_of, read_line
from triton_yolo.clients.stream.report import as_json
from triton_yolo.clients.stream.run import run
from triton_yolo.clients.stream.sinks import make_sink
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.sinks.json_lines import JsonLines
from triton_yolo.clients.stream.sinks.settings import PageSettings
from triton_yolo.clients.stream.sources import FORMS
from triton_yolo.files import write_whole

COMMAND = "triton-yolo stream"
FAILED, UNBALANCED = 1, 3


def _schema(wanted: bool) -> None:
    if wanted:
        typer.echo(dumps(Line.model_json_schema(), indent=2))
        raise typer.Exit


def _messages(wanted: bool) -> None:
    if wanted:
        from triton_yolo.clients.stream.sinks.mqtt.messages import schema

        typer.echo(dumps(schema(), indent=2))
        raise typer.Exit


def main(
    line: Annotated[
        Path | None, typer.Argument(metavar="LINE.yaml", help="The line's file; see docs/streaming.md.")
    ] = None,
    camera: Annotated[
        list[str] | None, typer.Option(metavar="URI", help=f"A camera, in place of a file: {FORMS}. Any number.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(metavar="NUMBER", min=0.001, help="Frames a second of each --camera; its own rate if left out."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="NUMBER", min=0.001, help="End after so long; runs until Ctrl-C else.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="HOST:PORT for gRPC, http://HOST:PORT for HTTP; grpcs:// and https:// with TLS."
        ),
    ] = None,
    memory: Annotated[
        Literal["system", "cuda", "plain"] | None,
        typer.Option(
            help="How frames reach the server: it reads them in the ring (a server on this machine), on its GPU, or "
            "they travel in the requests."
        ),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(metavar="MS", min=0.001, help="Milliseconds from capture after which a frame is late; 500."),
    ] = None,
    page: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Show the line in a browser, such as at 127.0.0.1:8080."),
    ] = None,
    show_tiles: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Films of what is sent of cameras with transport: tiles, for the eye."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each frame, and for each board of several frames.")
    ] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write the report here at the end.")] = None,
    control: Annotated[
        Path | None, typer.Option(metavar="SOCKET", help="Take commands here: cameras that come and go, the report.")
    ] = None,
    _: Annotated[
        bool, typer.Option("--schema", callback=_schema, is_eager=True, help="Print the JSON Schema of a line's file.")
    ] = False,
    __: Annotated[
        bool,
        typer.Option("--messages", callback=_messages, is_eager=True, help="Print the JSON Schema of MQTT messages."),
    ] = False,
) -> None:
    """Inspect what a line of cameras captures; every frame gets a verdict, and all of them are accounted for.

    Ends with status 0 when every frame is accounted for, 1 when a camera failed, 3 when an account did not balance.
    """
    said = AsideHandler()
    logging.basicConfig(level=logging.WARNING, format=f"{COMMAND}: %(message)s", handlers=[said])
    settings: dict[str, Any] = {"url": url, "memory": memory, "deadline_ms": deadline}
    given = {name: value for name, value in settings.items() if value is not None}
    if seconds is not None and not math.isfinite(seconds):
        leave(COMMAND, f"--seconds is a number of seconds; got {seconds}")
    if report and report.is_dir():
        leave(COMMAND, f"--report {report} is a folder: name a file")
    try:
        wanted, read_again = _line(line, camera or [], fps, given)
        sinks: list[Sink] = [JsonLines(os.dup(1), wanted.verdict.boards != "frame")] if json else []
        pages = [PageSettings(kind="page", listen=_address(page))] if page is not None else []
        sinks += [make_sink(settings, wanted) for settings in (*pages, *wanted.sinks)]
        sinks += [_shown_tiles(show_tiles, wanted)] if show_tiles else []
        stream = run(wanted, sinks, seconds=seconds, control=control, shown=True, read_again=read_again)
    except (LineError, DetectionError) as error:
        said.flush()
        leave(COMMAND, str(error))
    except KeyboardInterrupt:  # before the line ran
        leave(COMMAND, "interrupted", INTERRUPTED)
    said.flush()
    if not json:
        Console().print(stream.table)
    if report:
        try:
            write_whole(report, as_json(stream.report))
        except OSError as error:
            typer.echo(as_json(stream.report).decode(), err=True)
            leave(COMMAND, f"{report} cannot be written: {error.strerror}; the report is above", FAILED)
    if stream.unbalanced:
        leave(COMMAND, f"the account does not balance: {stream.unbalanced}", UNBALANCED)
    if stream.failed:
        leave(COMMAND, f"failed: {', '.join(stream.failed)}", FAILED)


def _address(text: str) -> str:
    """Return what --page says.

    Raises:
        LineError: it is no HOST:PORT.
    """
    try:
        host_and_port(text)
    except LineError as error:
        raise LineError(f"--page {error}") from None
    return text


def _shown_tiles(folder: Path, line: Line) -> Sink:
    """Return the sink that films what is sent.

    Raises:
        LineError: nothing is to be seen, or no film can be made there.
    """
    if all(camera.transport != "tiles" for camera in line.cameras):
        raise LineError("--show-tiles: no camera has transport: tiles")
    try:
        from triton_yolo.clients.stream.sinks.records.sent import SentFilms
    except ModuleNotFoundError as error:
        raise LineError(f"--show-tiles needs the package {error.name}: pip install 'triton-yolo[stream]'") from None
    return SentFilms(folder)


def _line(file: Path | None, uris: list[str], fps: float | None, given: dict[str, Any]) -> tuple[Line, Any]:
    """Return the line that the arguments name, and what reads its file once more, if it has one."""
    if (file is None) == (not uris):
        raise LineError(
            "give a line's file, or --camera once or more" if file is None else "give LINE.yaml or --camera"
        )
    if file is None:
        name = re.sub(r"[^\w.-]", "-", f"line-{os.getpid()}")
        return line_of(uris, name=name, fps=fps, **given), None
    if fps is not None:
        raise LineError("--fps is for --camera: write fps for each camera into the line's file")
    read = partial(read_line, file, **given)
    return read(), read
