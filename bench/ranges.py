"""Command line: python -m bench.ranges, how much memory the collection of ranges takes for few and for many images."""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from bench.errors import BenchError
from bench.float_graph import NETWORK, float_repository
from bench.machine import describe_machine
from calibration.errors import CalibrationError
from calibration.layers import convolutions, read_float_graph
from calibration.pictures import find_pictures, read_pictures
from calibration.ranges import METHODS, collect
from clients.command import leave
from clients.files import write_whole
from export.repository import GRAPH
from export.surroundings import surroundings
from server.repository import TEMPLATE

ROOT = Path(__file__).resolve().parents[1]
COUNTS = (50, 1000)


def main(
    images: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of at least 1,000 images.")],
    out: Annotated[Path, typer.Option(help="File for the results.")] = ROOT / "bench/results/ranges-memory.json",
) -> None:
    """Collect ranges by all methods over 50 and over 1,000 images, each in a process of its own."""
    measured = {}
    context = multiprocessing.get_context("spawn")
    try:
        for count in COUNTS:
            with ProcessPoolExecutor(1, context) as process:
                measured[count] = process.submit(_collect, images, count).result()
    except (BenchError, CalibrationError) as error:
        leave("bench.ranges", str(error))
    few, many = (measured[count]["peak_mb"] for count in COUNTS)
    result = {
        "graph": f"of {NETWORK.name}, 640x640",
        "methods": METHODS,
        "images": measured,
        "peak_ratio": round(many / few, 3),
        "measured_on": {**describe_machine(), "date": date.today().isoformat()},
    }
    text = json.dumps(result, indent=2)
    write_whole(out, f"{text}\n".encode())
    typer.echo(text)


def _collect(folder: Path, count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as temporary:
        path = float_repository(NETWORK, TEMPLATE, Path(temporary, "float")) / GRAPH
        model = read_float_graph(path)
        letterbox = surroundings(model, path, None, None).letterbox
    pictures = read_pictures(find_pictures(folder), letterbox, count)
    if len(pictures) < count:
        raise CalibrationError(f"{count} images are needed, {folder} has {len(pictures)} that can be read")
    start = time.perf_counter()
    collect(model, sorted({layer.input for layer in convolutions(model)}), pictures, METHODS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak_mb": round(peak / 1000), "seconds": round(time.perf_counter() - start)}


if __name__ == "__main__":
    typer.run(main)
