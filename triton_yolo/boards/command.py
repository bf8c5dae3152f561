"""Command line: triton-yolo boards."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from triton_yolo.boards.dataset import write_dataset
from triton_yolo.boards.draw import Look

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Looks(str, Enum):
    """What --look takes."""

    binary = "binary"
    photo = "photo"
    both = "both"


def _size(text: str) -> tuple[int, int]:
    """Read HxW in pixels; return width and height."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None or not int(match[1]) or not int(match[2]):
        raise typer.BadParameter(f"{text!r} is not HxW (height x width) in pixels, as in 960x1280")
    return int(match[2]), int(match[1])


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist yet, or be empty.")],
    count: Annotated[int, typer.Option(metavar="N", min=1, help="How many boards to draw.")],
    size: Annotated[
        list[str],
        typer.Option(metavar="HxW", help="Height x width of the pictures in pixels; several are used in turn."),
    ] = ["640x640"],  # noqa: B006 - typer copies it
    look: Annotated[Looks, typer.Option(help="A binarised scan, a photo in colour, or both in turn.")] = Looks.binary,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Chooses the boards; the same seed draws the same ones.")
    ] = 0,
    quality: Annotated[int, typer.Option(metavar="N", min=1, max=100, help="Quality of the JPEGs.")] = 95,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Processes that draw.")] = 1,
) -> None:
    """Draw circuit boards with defects, and write them as JPEGs with COCO annotations."""
    console = Console(stderr=True)
    looks: tuple[Look, ...] = ("binary", "photo") if look is Looks.both else (look.value,)
    columns = (TextColumn("drawing boards"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("", total=count)
            path = write_dataset(
                out, count, seed, [_size(text) for text in size], looks, quality, workers, lambda: bar.advance(task)
            )
    except OSError as error:
        console.print(f"[red]error:[/red] {error}", soft_wrap=True, highlight=False)
        raise typer.Exit(2) from None
    console.print(f"{count} boards are in {path.parent}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    app()
