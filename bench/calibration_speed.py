"""Command line: python -m bench.calibration_speed, how long the steps of a calibration take."""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.origin import measured_on
from triton_yolo.calibration.calibrate import calibrate
from triton_yolo.calibration.options import AUTO, CalibrationOptions
from triton_yolo.cli.exits import leave
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole


def main(
    graph: Annotated[
        Path, typer.Argument(metavar="MODEL.onnx", exists=True, dir_okay=False, help="Served float graph.")
    ],
    images: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of images.")],
    out: Annotated[Path, typer.Option(help="File for the results.")],
    annotations: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="COCO annotations of the images.")
    ] = None,
    count: Annotated[int, typer.Option(min=8, help="Images for ranges and for precision.")] = 32,
    sensitivity_images: Annotated[int, typer.Option(min=1, help="Of those, for each layer alone.")] = 16,
    max_drop: Annotated[float, typer.Option(min=0, max=1, help="The share of mAP50-95 that may be lost.")] = 0.005,
) -> None:
    """Calibrate once with nothing kept from earlier runs; say the seconds, of the clock and of the processor.

    Where other programs use the machine too, compare the seconds of the processor. To compare two versions, run it in
    turns in a checkout of each.
    """
    start, before = time.perf_counter(), _processor_seconds()
    with tempfile.TemporaryDirectory() as kept:
        options = CalibrationOptions(AUTO, max_drop, "fp16", count, count, sensitivity_images, None, None, Path(kept))
        try:
            report = calibrate(graph, images, annotations, options).document
        except TritonYoloError as error:
            leave("python -m bench.calibration_speed", str(error))
    result = {
        "graph_sha256": report["graph_sha256"],
        "images": report["images"],
        "seconds": {
            "wall": round(time.perf_counter() - start, 1),
            "processor": round(_processor_seconds() - before, 1),
        },
        "seconds_of_steps": report["seconds"],
        "peak_memory_mb": report["peak_memory_mb"],
        "load_at_the_end": os.getloadavg()[0],
        "result": _chosen(report),
        "measured_on": measured_on(),
    }
    text = json.dumps(result, indent=2)
    write_whole(out, f"{text}\n".encode())
    typer.echo(text)


def _processor_seconds() -> float:
    """Return what this process and its children that have ended have used."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _chosen(report: dict[str, Any]) -> dict[str, Any]:
    """Return what the calibration has decided."""
    layers = report["layers"]
    return {
        "float_map50_95": report["float"]["map50_95"],
        "int8_map50_95": report["int8"]["map50_95"],
        "float_layers": [layer["name"] for layer in layers if layer["float_because"] == "search"],
        "methods": {layer["name"]: layer["method"] for layer in layers if layer["int8"]},
        "graphs_measured": len(report["path"]),
    }


if __name__ == "__main__":
    typer.run(main)
