"""Command line: triton-yolo detect."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from triton_yolo.cli.exits import INTERRUPTED, leave
from triton_yolo.cli.progress import counted, tracked
from triton_yolo.clients.access import Access
from triton_yolo.clients.base import CONCURRENCY, stops_everything
from triton_yolo.clients.commands.options import (
    URL,
    ApiKey,
    MemoryOption,
    TlsCa,
    TlsCertificate,
    TlsKey,
    TransportOption,
    Url,
    connected,
    threshold_option,
    without_transport,
)
from triton_yolo.clients.concurrent_map import concurrent_map
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.errors import DetectionError, ServerUnavailable
from triton_yolo.clients.images import load, upright_size
from triton_yolo.clients.request import Pixels
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import SUFFIXES, find_images, write_whole

COMMAND = "triton-yolo detect"
DETECTED = (*SUFFIXES, ".bmp", ".tif", ".tiff", ".webp")  # files that are taken from a folder
COLUMNS = ("score", "x1", "y1", "x2", "y2")


@dataclass(frozen=True)
class Outcome:
    """The outcome of one file.

    Attributes:
        file: path as it was found.
        size: width and height of the upright image in pixels; None after an error.
        detections: what was found; None after an error.
        error: one line; None where there was no error.
    """

    file: Path
    size: tuple[int, int] | None = None
    detections: Detections | None = None
    error: str | None = None

    def rows(self) -> Iterator[list[str]]:
        """Yield name, score and box of each detection, for people."""
        if self.detections is not None:
            for name, score, box in zip(
                self.detections.names, self.detections.scores, self.detections.boxes, strict=True
            ):
                yield [name, f"{score:.3f}", *(f"{v:.1f}" for v in box)]

    def as_json(self) -> str:
        """Return one line for --json."""
        content: dict[str, Any] = {"file": str(self.file)}
        if self.detections is None or self.size is None:
            return json.dumps({**content, "error": self.error})
        return json.dumps({**content, "width": self.size[0], "height": self.size[1], **self.detections.as_dict()})


def main(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE",
            help="Files, folders, and patterns such as 'scans/*.png'. Of a folder: its JPEG, PNG, BMP, TIFF and WebP "
            "files, sorted by name.",
            show_default=False,
        ),
    ],
    url: Url = URL,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Also search the folders inside a folder, at any depth.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each file, on a line each.")
    ] = False,
    draw: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", file_okay=False, help="Write the images with their boxes into this folder."),
    ] = None,
    score_threshold: Annotated[float | None, threshold_option("Lowest score to report. Default: the server's.")] = None,
    iou_threshold: Annotated[
        float | None, threshold_option("Highest overlap of two boxes of a class. Default: the server's.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            file_okay=False,
            help="For very many files: keep the results in this folder, and go on there when the same command is "
            "called again. IMAGE may also be a tar archive or a URL such as s3://bucket/folder; folders are searched "
            "at any depth.",
        ),
    ] = None,
    file_format: Annotated[
        Literal["jsonl", "parquet"], typer.Option("--format", help="Of the results in --into.")
    ] = "jsonl",
    concurrency: Annotated[int, typer.Option(min=1, max=1024, help="Requests in flight.")] = CONCURRENCY,
    patience: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="With --into: how long an image is tried while the server is gone or busy."
        ),
    ] = 300.0,
    memory: MemoryOption = "plain",
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    api_key: ApiKey = None,
    transport: TransportOption = None,
) -> None:
    """Detect on image files through a running server.

    A terminal gets a table. A pipe gets a line for each detection: file, name, score, x1, y1, x2, y2 (pixels of the
    upright image), separated by tabs.

    Exit code 1: some files failed. 2: nothing to do, no server, or the server went away.
    """
    access = partial(Access, tls_ca, tls_certificate, tls_key, api_key)
    if into is not None:
        if draw or as_json:
            leave(COMMAND, f"--into writes its own results: leave {'--draw' if draw else '--json'} out")
        url, memory = without_transport(COMMAND, transport, url, memory)
        thresholds = {"score_threshold": score_threshold, "iou_threshold": iou_threshold}
        detector = connected(COMMAND, url, memory, access)
        _detect_into(into, file_format, images, detector, concurrency, patience, thresholds)
    files, reasons = find_images(images, suffixes=DETECTED, recursive=recursive)
    missing = [Outcome(Path(argument), error=f"no image found: {_why(reason)}") for argument, reason in reasons.items()]
    if not files:
        leave(COMMAND, "no image found: " + "; ".join(f"{name}: {_why(reason)}" for name, reason in reasons.items()))
    targets = _targets(files, images, draw) if draw else {}
    url, memory = without_transport(COMMAND, transport, url, memory)
    tally = Tally()
    try:
        with connected(COMMAND, url, memory, access) as detector:
            detector.labels()  # says at once if there is no server
            work = partial(_process, detector, targets, score_threshold=score_threshold, iou_threshold=iou_threshold)
            torn = as_json and sys.stdout.isatty()  # by the lines
            results = tracked(concurrent_map(work, files, concurrency), len(files), "Detecting", hidden=torn)
            _report(chain(missing, results), as_json, tally)
    except ServerUnavailable as error:
        leave(COMMAND, f"{error}; {tally.done} of {len(files)} done" if tally.begun else str(error))
    except DetectionError as error:
        leave(COMMAND, str(error))
    except KeyboardInterrupt:
        leave(COMMAND, "interrupted", INTERRUPTED)
    raise typer.Exit(1 if tally.failed else 0)


def _detect_into(
    folder: Path,
    file_format: Literal["jsonl", "parquet"],
    places: list[str],
    detector: Detector,
    concurrency: int,
    patience: float,
    thresholds: dict[str, float | None],
) -> NoReturn:
    """Detect on very many files, and keep the results in a folder."""
    from triton_yolo.clients.bulk.results import KINDS, REFUSED  # needs locks, which not every system has
    from triton_yolo.clients.bulk.run import detect_all

    options: Any = {**thresholds, "suffixes": DETECTED, "concurrency": concurrency, "patience": patience}
    try:
        with detector, KINDS[file_format](folder, thresholds) as results:
            before = results.done + results.refused
            if before:
                typer.echo(f"{before} files are done already", err=True)
            detector.labels()  # says at once if there is no server
            with counted("Detecting", lambda: f"{results.done} done, {results.refused} refused"):
                deque(detect_all(detector, places, results, **options), maxlen=0)
    except TritonYoloError as error:
        leave(COMMAND, f"{error}; what is done is kept: call the same again to go on")
    except OSError as error:
        leave(COMMAND, f"cannot write to {error.filename or folder}: {error.strerror}; call the same again to go on")
    except KeyboardInterrupt:
        leave(COMMAND, "interrupted; what is done is kept: call the same again to go on", INTERRUPTED)
    typer.echo(f"{folder}: {results.done} done, {results.refused} refused")
    if results.refused:
        typer.echo(f"{folder / REFUSED} says which were refused, and why", err=True)
    raise typer.Exit(1 if results.refused else 0)


def _why(reason: str) -> str:
    """Return the reason with the option of this command that helps."""
    return reason.replace("or search them all", "or add --recursive")


def _targets(files: list[Path], arguments: list[str], folder: Path) -> dict[Path, Path]:
    """Return the drawing of each image, and refuse to draw over an image, or two images into one file."""
    searched = [Path(argument) for argument in arguments if Path(argument).is_dir()]
    targets = {file: _target(file, searched, folder) for file in files}
    sources: dict[Path, Path] = {}
    for file, path in targets.items():
        target = path.resolve()
        if target == file.resolve():
            leave(COMMAND, f"--draw {folder} would overwrite {file}: choose another folder")
        if target in sources:
            leave(COMMAND, f"{sources[target]} and {file} have the same name: draw them into two folders, in two runs")
        sources[target] = file
    return targets


def _target(image: Path, searched: list[Path], folder: Path) -> Path:
    """Return the path of a drawing: the image's in its folder, with .png behind it if its format is not written."""
    name = next((image.relative_to(root) for root in searched if image.is_relative_to(root)), Path(image.name))
    return folder / (name if image.suffix.lower() in SUFFIXES else name.with_name(f"{name.name}.png"))


def _process(detector: Detector, targets: Mapping[Path, Path], file: Path, **thresholds: Any) -> Outcome:
    """Detect on one file and draw it; only a server that is gone stops the others."""
    try:
        try:
            image = load(file.read_bytes())
        except OSError as error:
            return Outcome(file, error=f"cannot read it: {error.strerror}")
        detections = detector.detect(image, **thresholds)
        if file in targets:
            from triton_yolo.clients.drawing import drawn  # supervision takes most of a second to load

            write_whole(targets[file], drawn(image, detections, targets[file].suffix))
        return Outcome(file, _size(image), detections)
    except OSError as error:
        return Outcome(file, error=f"cannot write {targets[file]}: {error.strerror}")
    except DetectionError as error:
        if stops_everything(error):
            raise
        return Outcome(file, error=str(error))


def _size(image: bytes | Pixels) -> tuple[int, int]:
    return upright_size(image) if isinstance(image, bytes) else (image.shape[1], image.shape[0])


@dataclass
class Tally:
    """How far a run is.

    Attributes:
        begun: whether the server has answered at all.
        done: files that were detected on.
        failed: arguments and files that failed.
    """

    begun: bool = False
    done: int = 0
    failed: int = 0


def _report(outcomes: Iterable[Outcome], as_json: bool, tally: Tally) -> None:
    """Print lines as they come; a terminal's table and the errors at the end, below the progress bar."""
    table = None if as_json or not sys.stdout.isatty() else Table("file", "name", *COLUMNS)
    errors = []
    tally.begun = True
    try:
        for outcome in outcomes:
            if outcome.error:
                errors.append(f"{outcome.file}: {outcome.error}")
                tally.failed += 1
            else:
                tally.done += 1
            if as_json:
                typer.echo(outcome.as_json())
            elif table is None:
                for row in outcome.rows():
                    typer.echo("\t".join([str(outcome.file), *row]))
            elif outcome.detections is not None:
                _add(table, outcome)
    finally:
        if table is not None and table.rows:
            Console().print(table)
        for error in [] if as_json else errors:
            typer.echo(error, err=True)


def _add(table: Table, outcome: Outcome) -> None:
    """Add the rows of one file to the table, its name on the first."""
    rows = list(outcome.rows()) or [["nothing found", *[""] * len(COLUMNS)]]
    for i, row in enumerate(rows):
        table.add_row(Text(str(outcome.file) if i == 0 else "", overflow="fold"), *map(Text, row))
    table.add_section()
