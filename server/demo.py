"""Command line: triton-yolo demo, the default repository shown on boards that it has never seen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from supervision.detection.utils.iou_and_nms import box_iou_batch

from triton_yolo.boards import CLASSES, Board, draw_board
from triton_yolo.cli.exits import leave
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.drawing import draw
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole
from triton_yolo.repository import DEFAULT_REPOSITORY
from triton_yolo.server.demo_line import show
from triton_yolo.server.process import TritonServer, free_addresses

COMMAND = "triton-yolo demo"
# The first boards from seed 9,000,000 on that have all six defects; training draws from other seeds.
PHOTOS, SCANS = (9_000_058, 9_000_075), (9_000_013, 9_000_021, 9_000_023)
OVERLAP = 0.5  # intersection over union from which a detection is of a defect
ENOUGH = 0.8  # share of the drawn defects that a server which is right finds; the default model finds nearly all
MISSED = 1  # the exit code where it finds fewer
SHEET_WIDTH, GAP = 1944, 12  # pixels; the width divides by the number of photos and of scans
Picture = npt.NDArray[np.uint8]


def main(
    out: Annotated[Path, typer.Option(help="Folder for demo.png.")] = Path("out"),
    repository: Annotated[Path, typer.Option(help="Model repository to serve.")] = DEFAULT_REPOSITORY,
    line: Annotated[
        bool,
        typer.Option("--line", help="Run a line of drawn boards instead, with its page in a browser, until Ctrl-C."),
    ] = False,
    page: Annotated[str, typer.Option(metavar="HOST:PORT", help="Of --line: address of the page.")] = "127.0.0.1:8080",
    browser: Annotated[bool, typer.Option(help="Of --line: open the page where there is a screen.")] = True,
) -> None:
    """Draw boards with known defects, start the server, detect, draw demo.png, print the table, stop the server.

    With --line, four cameras look at drawn boards on a belt, of which some have defects; a server that runs on this
    machine is taken, or one is started.

    Exit code 1: fewer than 80 % of the drawn defects were found where they are. 2: the server did not start.
    """
    if line:
        try:
            show(COMMAND, repository, page, browser)
        except TritonYoloError as error:
            leave(COMMAND, str(error))
        return
    boards = [draw_board(seed, 1280, 960, "photo") for seed in PHOTOS]
    boards += [draw_board(seed, 640, 640, "binary") for seed in SCANS]
    typer.echo("Starting tritonserver with the models detect, preprocess, yolo and nms ...")
    try:
        with TritonServer(repository, free_addresses(), lambda line: None) as server:
            server.wait_until_ready()
            proved = server.proved()
            with Detector(f"127.0.0.1:{server.addresses.grpc}") as detector:
                found = list(detector.detect_many(_jpeg(board) for board in boards))
    except TritonYoloError as error:
        leave(COMMAND, str(error))
    try:
        pictures = [
            draw(cv2.cvtColor(board.image, cv2.COLOR_RGB2BGR), detections)
            for board, detections in zip(boards, found, strict=True)
        ]
        target = out / "demo.png"
        write_whole(
            target, cv2.imencode(".png", _sheet([pictures[: len(PHOTOS)], pictures[len(PHOTOS) :]]))[1].tobytes()
        )
    except OSError as error:
        leave(COMMAND, f"cannot write to {out}: {error.strerror}")
    hits = [defects_found(board, detections) for board, detections in zip(boards, found, strict=True)]
    drawn = sum(len(board.boxes) for board in boards)
    Console().print(_table(boards, found, hits))
    for model, told in proved.items():
        typer.echo(f"{model}: {told.line}")
    typer.echo(f"The boards with their boxes are in {os.path.relpath(target)}")
    typer.echo(f"{sum(hits)} of {drawn} drawn defects were found where they are: {sum(hits) / drawn:.0%}")
    if sum(hits) < ENOUGH * drawn:
        leave(
            COMMAND,
            f"fewer than {ENOUGH:.0%} of the defects were found: do not use this server",
            MISSED,
        )


def defects_found(board: Board, found: Detections) -> int:
    """Return how many of a board's defects have a detection of their class that overlaps them by half or more.

    Args:
        board: with its boxes, in pixels.
        found: in pixels of the board, best first; each counts for one defect.
    """
    overlaps = box_iou_batch(board.boxes, found.boxes)  # [defects, detections]
    overlaps[np.array(CLASSES)[board.classes][:, None] != np.array(found.names, dtype=object)[None]] = 0
    hits = 0
    for column in overlaps.T:
        defect = int(column.argmax())
        if column[defect] >= OVERLAP:
            overlaps[defect] = 0
            hits += 1
    return hits


def _jpeg(board: Board) -> bytes:
    return cv2.imencode(".jpg", cv2.cvtColor(board.image, cv2.COLOR_RGB2BGR))[1].tobytes()


def _sheet(rows: list[list[Picture]]) -> Picture:
    """Return rows of pictures of one shape, each row as wide as the sheet, with white around each picture."""
    half = GAP // 2
    sheet = []
    for row in rows:
        width = SHEET_WIDTH // len(row) - GAP
        size = (width, width * row[0].shape[0] // row[0].shape[1])
        inner = (cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8) for picture in row)
        sheet.append(np.hstack([np.pad(p, ((half, half), (half, half), (0, 0)), constant_values=255) for p in inner]))
    return np.vstack(sheet)


def _table(boards: list[Board], found: list[Detections], hits: list[int]) -> Table:
    table = Table(
        "board", "drawn with", "of them found", "all detections (score)", title="Circuit boards through the server"
    )
    for number, (board, detections, right) in enumerate(zip(boards, found, hits, strict=True), 1):
        height, width = board.image.shape[:2]
        names = ", ".join(f"{n} {s:.2f}" for n, s in zip(detections.names, detections.scores, strict=True))
        look = "photo" if number <= len(PHOTOS) else "scan"
        table.add_row(f"{number}: {look} {width}x{height}", str(len(board.boxes)), str(right), Text(names))
    return table
