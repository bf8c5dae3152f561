"""Command line: triton-yolo bench case, the inspection line before and after, a change at a time."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.case.measuring import Plan, measure
from bench.case.report import bars, markdown, picture
from triton_yolo.cli.exits import leave
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole

COMMAND = "triton-yolo bench case"
ROOT = Path(__file__).resolve().parents[2]


def main(
    out: Annotated[Path, typer.Option(help="Folder for case.json, case.md and case.png.")] = Path("out/case"),
    repository: Annotated[Path, typer.Option(help="Model repository to measure.")] = ROOT / "model_repository",
    device: Annotated[Literal["cpu", "gpu"], typer.Option(help="Device of the server.")] = "cpu",
    backends: Annotated[Path | None, typer.Option(help="Folder with Triton's native DALI backend, to use it.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="All rungs in turn, this many times.")] = 3,
    seconds: Annotated[float, typer.Option(min=1, help="Length of one measurement.")] = 10,
    fps: Annotated[float | None, typer.Option(min=0.01, help="Of each camera, where latencies are compared.")] = None,
    again: Annotated[
        Path | None, typer.Option("--from", help="Measure nothing: make the report of this case.json anew.")
    ] = None,
) -> None:
    """Measure what each step from the line as it is written first to the line as it is served here gives.

    8 cameras, JPEGs and raw frames; each rung changes one thing of the one below, all in one run, in turn, each with
    its server alone. Nothing is compared where detections differ. Counts bytes over connections, copies in memory
    (which takes a C compiler) and, on a GPU, bytes over its bus. Wants the machine for itself, for 15 minutes.
    """
    try:
        if again:
            result = json.loads(again.read_text())
        else:
            plan = Plan(repository, device, backends, rounds, seconds, fps)
            result = measure(plan, lambda words: typer.echo(words, err=True))
        result["bars"] = bars(result)
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "case.json", f"{json.dumps(result, indent=2)}\n".encode())
        write_whole(out / "case.md", markdown(result).encode())
        with tempfile.TemporaryDirectory() as folder:
            drawn = Path(folder) / "case.png"
            picture(result, drawn)
            write_whole(out / "case.png", drawn.read_bytes())
    except TritonYoloError as error:
        leave(COMMAND, str(error))
    except (OSError, ValueError, KeyError) as error:
        leave(COMMAND, f"{again or out}: {error}")
    typer.echo(markdown(result), nl=False)


if __name__ == "__main__":
    typer.run(main)
