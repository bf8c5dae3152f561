"""Command line: python -m bench.classes, what counting every class of a box gives and costs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.origin import measured_on
from triton_yolo.calibration.pictures import annotated, read_pictures
from triton_yolo.calibration.runtimes import openvino_engine
from triton_yolo.cli.exits import leave
from triton_yolo.cli.progress import tracked
from triton_yolo.clients.coco import evaluate, read_annotations
from triton_yolo.clients.detections import OUTPUTS, Detections
from triton_yolo.errors import TritonYoloError
from triton_yolo.export.command import parse_size
from triton_yolo.export.network import prepare
from triton_yolo.export.recognise import ExportOptions, recognise
from triton_yolo.export.served_graph import served_graph
from triton_yolo.files import write_whole
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.nms.detections import detections
from triton_yolo.nms.thresholds import Thresholds

ROOT = Path(__file__).resolve().parents[1]
TOP_K, MOST, SCORE, IOU = 1000, 300, 0.001, 0.7  # the last three as Ultralytics' validation has them
ROUNDS = 10


def main(
    network: Annotated[Path, typer.Argument(metavar="MODEL.onnx", exists=True, dir_okay=False, help="The network.")],
    images: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of labelled images.")],
    annotations: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="COCO annotations of the images.")],
    size: Annotated[str | None, typer.Option(help="S or HxW in pixels, for a graph that leaves it open.")] = None,
    out: Annotated[Path, typer.Option(help="File for the results.")] = ROOT / "bench/results/classes.json",
) -> None:
    """Measure average precision and time with --classes best and all, in one process and in turn, on the CPU."""
    try:
        labelled = read_annotations(annotations)
        known = annotated(labelled, images)
        prepared = prepare(read_network(network), parse_size(size))
        graphs, rows = {}, {}
        for name, every in (("best", False), ("all", True)):
            recognised = recognise(prepared, ExportOptions(every_class=every))
            graphs[name] = openvino_engine(served_graph(prepared, recognised, TOP_K))
        pictures = read_pictures(list(known), recognised.letterbox, len(known))
    except TritonYoloError as error:
        leave("python -m bench.classes", str(error))
    thresholds = Thresholds(SCORE, IOU)
    found: dict[str, dict[int, Detections]] = {name: {} for name in graphs}
    taken: dict[str, list[float]] = {name: [] for name in graphs}
    for file, (pixels, place) in tracked(zip(pictures.files, pictures, strict=True), len(pictures), "Detecting"):
        for name, run in graphs.items():
            arrays = detections(run(pixels)[None], np.array([place]), thresholds, MOST, pictures.letterbox)
            [found[name][known[file]]] = Detections.from_tensors(
                dict(zip(OUTPUTS, arrays, strict=True)), recognised.labels
            )
        for _ in range(ROUNDS):
            for name, run in graphs.items():
                start = time.perf_counter()
                run(pixels)
                taken[name].append(1e3 * (time.perf_counter() - start))
    for name in graphs:
        overall = evaluate(labelled, found[name]).overall
        precision = {"map50_95": round(overall.ap50_95, 4), "map50": round(overall.ap50, 4)}
        rows[name] = {**precision, "milliseconds": round(float(np.median(taken[name])), 2)}
    result: dict[str, Any] = {
        "network": network.name,
        "classes": len(recognised.labels),
        "images": len(pictures),
        "settings": {"top_k": TOP_K, "max_detections": MOST, "score_threshold": SCORE, "iou_threshold": IOU},
        "classes_of_a_box": rows,
        "time_all_to_best": round(float(np.median(np.divide(taken["all"], taken["best"]))), 3),
        "measured_on": measured_on(),
    }
    text = json.dumps(result, indent=2)
    write_whole(out, f"{text}\n".encode())
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
