"""Command line: python -m bench.peers, this server on the CPU against what others would pick."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from bench.peers.measuring import measure, short
from bench.peers.table import tables
from triton_yolo.cli.exits import leave
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole

ROOT = Path(__file__).resolve().parents[2]
LOWEST = 0.85  # images a second of the server to those of the best loop in one process, for --short
COMMAND = "python -m bench.peers"


def main(
    repository: Annotated[Path, typer.Option(help="Model repository to measure.")] = ROOT / "model_repository",
    out: Annotated[Path, typer.Option(help="File for the results.")] = ROOT / "bench/results/peers-cpu.json",
    arithmetic: Annotated[
        Literal["auto", "float"],
        typer.Option(help="auto: the repository's graph. float: the graph that the default one was made from."),
    ] = "auto",
    only: Annotated[str, typer.Option(help="Measure the peers alone whose names contain this.")] = "",
    rounds: Annotated[int, typer.Option(min=1, help="All in turn, this many times.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="Length of one measurement.")] = 8,
    table: Annotated[Path | None, typer.Option(help="Measure nothing: print this file's tables.")] = None,
    short_run: Annotated[
        bool,
        typer.Option(
            "--short", help=f"This server and the loop in one process alone; fails below a ratio of {LOWEST}."
        ),
    ] = False,
) -> None:
    """Measure this server on the CPU against LitServe, BentoML, Ray Serve and a loop in one process, in one run.

    All decode the same JPEGs, compute the same network and suppress with the same function, each alone on the machine,
    with the best of the settings that its documentation names; one load for all. Nothing is compared where detections
    differ. Wants `make .bench/peers`, perf_analyzer, and the machine for itself, for about 35 minutes. Leaves
    peers-cpu.json.
    """
    if table:
        typer.echo(tables(json.loads(table.read_text())))
        return
    try:
        with _steps() as step:
            if short_run:
                _hold(repository, rounds, seconds, step)
                return
            result = measure(repository, arithmetic, only, rounds, seconds, step)
    except TritonYoloError as error:
        leave(COMMAND, str(error))
    write_whole(out, f"{json.dumps(result, indent=2)}\n".encode())
    typer.echo(tables(result))


def _hold(repository: Path, rounds: int, seconds: float, step: Callable[[str], None]) -> None:
    """End with status 1 where the server is too slow twice: another program may have taken the cores once."""
    for _ in range(2):
        ratio = short(repository, rounds, seconds, step)
        typer.echo(f"this server over gRPC / the best loop in one process: {ratio:.2f}, must be {LOWEST} or more")
        if ratio >= LOWEST:
            return
    leave(COMMAND, f"the server is slower than {LOWEST} of a loop in one process", 1)


@contextmanager
def _steps() -> Iterator[Callable[[str], None]]:
    """Show on stderr what is measured: a line that changes, or lines where that is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda name: typer.echo(name, err=True)
        return
    with console.status("drawing boards") as status:
        yield status.update


if __name__ == "__main__":
    typer.run(main)
