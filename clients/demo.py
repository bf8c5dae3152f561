"""Command line: python -m clients.demo, the default repository shown on boards that it has never seen."""

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

from clients.command import leave
from clients.detections import Detections
from clients.detector import Detector
from clients.drawing import draw
from clients.errors import DetectionError
from clients.files import write_whole
from server.errors import ServerError
from server.process import TritonServer, free_addresses
from training.boards import Board, draw_board

ROOT = Path(__file__).resolve().parents[1]
# The first boards from seed 9,000,000 on that have all six defects; training draws from other seeds.
PHOTOS, SCANS = (9_000_058, 9_000_075), (9_000_013, 9_000_021, 9_000_023)
SHEET_WIDTH, GAP = 1944, 12  # pixels; the width divides by the number of photos and of scans
Picture = npt.NDArray[np.uint8]


def main(
    out: Annotated[Path, typer.Option(help="Folder for demo.png.")] = ROOT / "out",
    repository: Annotated[Path, typer.Option(help="Model repository to serve.")] = ROOT / "model_repository",
) -> None:
    """Draw boards with known defects, start the server, detect, draw demo.png, print the table, stop the server."""
    boards = [draw_board(seed, 1280, 960, "photo") for seed in PHOTOS]
    boards += [draw_board(seed, 640, 640, "binary") for seed in SCANS]
    typer.echo("Starting tritonserver with the models detect, preprocess, yolo and nms ...")
    try:
        with TritonServer(repository, free_addresses(), lambda line: None) as server:
            server.wait_until_ready()
            with Detector(f"127.0.0.1:{server.addresses.grpc}") as detector:
                found = list(detector.detect_many(_jpeg(board) for board in boards))
        pictures = [
            draw(cv2.cvtColor(board.image, cv2.COLOR_RGB2BGR), detections)
            for board, detections in zip(boards, found, strict=True)
        ]
        target = out / "demo.png"
        write_whole(
            target, cv2.imencode(".png", _sheet([pictures[: len(PHOTOS)], pictures[len(PHOTOS) :]]))[1].tobytes()
        )
    except (ServerError, DetectionError) as error:
        leave("clients.demo", str(error))
    except OSError as error:
        leave("clients.demo", f"cannot write to {out}: {error.strerror}")
    Console().print(_table(boards, found))
    typer.echo(f"The boards with their boxes are in {os.path.relpath(target)}")


def _jpeg(board: Board) -> bytes:
    return cv2.imencode(".jpg", cv2.cvtColor(board.image, cv2.COLOR_RGB2BGR))[1].tobytes()


def _sheet(rows: list[list[Picture]]) -> Picture:
    """Rows of pictures of one shape, each row as wide as the sheet, with white around each picture."""
    half = GAP // 2
    sheet = []
    for row in rows:
        width = SHEET_WIDTH // len(row) - GAP
        size = (width, width * row[0].shape[0] // row[0].shape[1])
        inner = (cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8) for picture in row)
        sheet.append(np.hstack([np.pad(p, ((half, half), (half, half), (0, 0)), constant_values=255) for p in inner]))
    return np.vstack(sheet)


def _table(boards: list[Board], found: list[Detections]) -> Table:
    table = Table("board", "drawn with", "found", "defects found (score)", title="Circuit boards through the server")
    for number, (board, detections) in enumerate(zip(boards, found, strict=True), 1):
        height, width = board.image.shape[:2]
        names = ", ".join(f"{n} {s:.2f}" for n, s in zip(detections.names, detections.scores, strict=True))
        look = "photo" if number <= len(PHOTOS) else "scan"
        table.add_row(f"{number}: {look} {width}x{height}", str(len(board.boxes)), str(len(detections)), Text(names))
    return table


if __name__ == "__main__":
    typer.run(main)
