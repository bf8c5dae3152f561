"""Command line: triton-yolo detect."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from triton_yolo.cli.exits import INTERRUPTED, leave
from triton_yolo.cli.progress import tracked
from triton_yolo.clients.bounded import bounded_map
from triton_yolo.clients.connect import Kind
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.detector import CONCURRENCY, Detector
from triton_yolo.clients.errors import DetectionError, ServerUnavailable
from triton_yolo.errors import ImageError
from triton_yolo.files import SUFFIXES, find_images, upright_size, write_whole

COMMAND = "triton-yolo detect"
COLUMNS = ("score", "x1", "y1", "x2", "y2")


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        file: as it was found.
        size: width, height of the upright image in pixels; None after an error.
        detections: None after an error.
        error: one line, None where all went well.
    """

    file: Path
    size: tuple[int, int] | None = None
    detections: Detections | None = None
    error: str | None = None

    def rows(self) -> Iterator[list[str]]:
        """Name, score and box of each detection, for people."""
        if self.detections is not None:
            for name, score, box in zip(
                self.detections.names, self.detections.scores, self.detections.boxes, strict=True
            ):
                yield [name, f"{score:.3f}", *(f"{v:.1f}" for v in box)]

    def as_json(self) -> str:
        """One line for --json."""
        content: dict[str, Any] = {"file": str(self.file)}
        if self.detections is None or self.size is None:
            return json.dumps({**content, "error": self.error})
        return json.dumps({**content, "width": self.size[0], "height": self.size[1], **self.detections.as_dict()})


def main(
    images: Annotated[
        list[str], typer.Argument(help="Files, folders (their .jpg, .jpeg and .png, not folders inside), patterns.")
    ],
    url: Annotated[str, typer.Option(help="HOST:PORT for gRPC, http://HOST:PORT for HTTP.")] = "127.0.0.1:8001",
    transport: Annotated[
        Kind | None,
        typer.Option(
            help="How frames would travel. Default: as the URL says. Image files go as their bytes with each of them."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a file, a line each.")] = False,
    draw: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write the images with their boxes into this folder.")
    ] = None,
    score_threshold: Annotated[float | None, typer.Option(help="Lowest score; default: the server's.")] = None,
    iou_threshold: Annotated[float | None, typer.Option(help="Highest overlap; default: the server's.")] = None,
) -> None:
    """Detect on image files through the running server.

    A terminal gets a table; a pipe gets a line a detection: file, name, score, x1, y1, x2, y2 (pixels of the upright
    image), separated by tabs. Exit code 1: some file failed. 2: nothing to do, or no server.
    """
    files, empty = find_images(images)
    if not files:
        leave(COMMAND, f"no image found in: {', '.join(empty)}")
    if draw:
        _check_targets(files, draw)
    missing = [Outcome(Path(argument), error="no image found") for argument in empty]
    try:
        with Detector(url, transport=transport) as detector:
            detector.labels()  # says at once if there is no server
            work = partial(_process, detector, draw, score_threshold=score_threshold, iou_threshold=iou_threshold)
            torn = as_json and sys.stdout.isatty()  # by the lines
            results = tracked(bounded_map(work, files, CONCURRENCY), len(files), "Detecting", hidden=torn)
            well = _report(chain(missing, results), as_json)
    except DetectionError as error:
        leave(COMMAND, str(error))
    except KeyboardInterrupt:
        leave(COMMAND, "interrupted", INTERRUPTED)
    raise typer.Exit(0 if well else 1)


def _check_targets(files: list[Path], folder: Path) -> None:
    """Refuse to draw over an image, or two images into one file."""
    sources: dict[Path, Path] = {}
    for file in files:
        target = _target(file, folder).resolve()
        if target == file.resolve():
            leave(COMMAND, f"--draw {folder} would overwrite {file}: choose another folder")
        if target in sources:
            leave(COMMAND, f"{sources[target]} and {file} have the same name: draw them into two folders, in two runs")
        sources[target] = file


def _target(image: Path, folder: Path) -> Path:
    """Where the drawing of an image goes: its own name, with .png behind it if that is no format to write."""
    return folder / (image.name if image.suffix.lower() in SUFFIXES else f"{image.name}.png")


def _process(detector: Detector, folder: Path | None, file: Path, **thresholds: float | None) -> Outcome:
    """Detect on one file, draw it; only a missing server stops the others."""
    try:
        encoded = file.read_bytes()
        detections = detector.detect(encoded, **thresholds)
        if folder:
            from triton_yolo.clients.drawing import drawn  # supervision takes most of a second to load

            target = _target(file, folder)
            write_whole(target, drawn(encoded, detections, target.suffix))
        return Outcome(file, upright_size(encoded), detections)
    except ServerUnavailable:
        raise
    except OSError as error:
        return Outcome(file, error=f"{error.strerror}: {error.filename}")
    except (DetectionError, ImageError) as error:
        return Outcome(file, error=str(error))


def _report(outcomes: Iterable[Outcome], as_json: bool) -> bool:
    """Print lines as they come; a terminal's table and the errors when all have come, below the progress bar.

    Returns:
        whether all files went well.
    """
    table = None if as_json or not sys.stdout.isatty() else Table("file", "name", *COLUMNS)
    errors = []
    try:
        for outcome in outcomes:
            if outcome.error:
                errors.append(f"{outcome.file}: {outcome.error}")
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
    return not errors


def _add(table: Table, outcome: Outcome) -> None:
    """Put the rows of one file into the table, its name on the first."""
    rows = list(outcome.rows()) or [["nothing found", *[""] * len(COLUMNS)]]
    for i, row in enumerate(rows):
        table.add_row(Text(str(outcome.file) if i == 0 else "", overflow="fold"), *map(Text, row))
    table.add_section()


if __name__ == "__main__":
    typer.run(main)
