"""Command line: python -m bench.ranges, how much memory the collection of ranges takes for few and for many images."""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from bench.float_graph import NETWORK, float_repository
from bench.origin import measured_on
from triton_yolo.calibration.errors import CalibrationError
from triton_yolo.calibration.layers import convolutions, read_float_graph
from triton_yolo.calibration.options import METHODS
from triton_yolo.calibration.pictures import find_pictures, read_pictures
from triton_yolo.calibration.ranges import collect
from triton_yolo.cli.exits import leave
from triton_yolo.errors import TritonYoloError
from triton_yolo.export.served_model import served_model_of
from triton_yolo.files import write_whole
from triton_yolo.repository import DEFAULT_REPOSITORY, GRAPH_PATH

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
    except TritonYoloError as error:
        leave("python -m bench.ranges", str(error))
    few, many = (measured[count]["peak_mb"] for count in COUNTS)
    result = {
        "graph": f"of {NETWORK.name}, 640x640",
        "methods": METHODS,
        "images": measured,
        "peak_ratio": round(many / few, 3),
        "measured_on": measured_on(),
    }
    text = json.dumps(result, indent=2)
    write_whole(out, f"{text}\n".encode())
    typer.echo(text)


def _collect(folder: Path, count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as temporary:
        path = float_repository(NETWORK, DEFAULT_REPOSITORY, Path(temporary, "float")) / GRAPH_PATH
        model = read_float_graph(path)
        letterbox = served_model_of(model, path).letterbox
    pictures = read_pictures(find_pictures(folder), letterbox, count)
    if len(pictures) < count:
        raise CalibrationError(f"{count} images are needed, {folder} has {len(pictures)} that can be read")
    start = time.perf_counter()
    collect(model, sorted({layer.input for layer in convolutions(model)}), pictures, METHODS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak_mb": round(peak / 1000), "seconds": round(time.perf_counter() - start)}


if __name__ == "__main__":
    typer.run(main)
