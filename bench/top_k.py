"""Command line: python -m bench.top_k, what keeping K candidates of an image costs in average precision."""

from __future__ import annotations

import json
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime as ort
import typer

from bench.in_process import Stages
from triton_yolo.cli.exits import leave
from triton_yolo.cli.progress import tracked
from triton_yolo.clients.coco import IOU_THRESHOLD, SCORE_THRESHOLD, Annotations, evaluate, read_annotations
from triton_yolo.clients.detections import Detections
from triton_yolo.errors import TritonYoloError
from triton_yolo.export.network import prepare
from triton_yolo.export.recognise import ExportOptions, recognise
from triton_yolo.export.served_graph import served_graph
from triton_yolo.files import write_whole
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.nms.detections import detections
from triton_yolo.nms.thresholds import Thresholds
from triton_yolo.repository import DEFAULT_REPOSITORY

ROOT = Path(__file__).resolve().parents[1]
KS = (30, 100, 200, 300, 500, 1000, 2000)


def main(
    images: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of the images.")],
    annotations: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="COCO annotations of the images.")],
    network: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The network.")] = (
        ROOT / "models/pcb-yolov9t-elan.onnx"
    ),
    out: Annotated[Path, typer.Option(help="File for the results.")] = ROOT / "bench/results/top-k.json",
) -> None:
    """Measure the mean average precision of the first K candidates against that of all of them."""
    try:
        labelled = read_annotations(annotations)
        stages = Stages(DEFAULT_REPOSITORY)
        served = stages.served
        prepared = prepare(read_network(network), (served.letterbox.height, served.letterbox.width))
        recognised = recognise(prepared, ExportOptions())
        every = max(max(dims) for dims in prepared.outputs.values())
        graph = served_graph(prepared, recognised, every)
    except TritonYoloError as error:
        leave("python -m bench.top_k", str(error))
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    decoder = stages.decoder(stages.cores)
    thresholds = Thresholds(SCORE_THRESHOLD, IOU_THRESHOLD)
    found: dict[int, dict[int, Detections]] = {k: {} for k in (*KS, every)}
    above = []
    for number, name in tracked(labelled.images.items(), len(labelled.images), "Detecting"):
        [pixels], [size] = stages.decode(decoder, [np.fromfile(images / name, np.uint8)])
        [candidates] = session.run(None, {"images": pixels[None]})
        above.append(int((candidates[0, :, 4] >= SCORE_THRESHOLD).sum()))
        for k, of_k in found.items():
            outputs = detections(candidates[:, :k], size[None], thresholds, served.max_detections, served.letterbox)
            tensors = dict(zip(("num_detections", "boxes", "scores", "classes"), outputs, strict=True))
            [of_k[number]] = Detections.from_tensors(tensors, recognised.labels)
    text = json.dumps(_document(labelled, found, above, every, network), indent=2)
    write_whole(out, f"{text}\n".encode())
    typer.echo(text)


def _document(
    labelled: Annotations, found: dict[int, dict[int, Detections]], above: list[int], every: int, network: Path
) -> dict[str, Any]:
    measured = {k: evaluate(labelled, of_k).overall for k, of_k in found.items()}
    best = measured[every]
    return {
        "network": network.name,
        "images": len(labelled.images),
        "anchors": every,
        "score_threshold": SCORE_THRESHOLD,
        "iou_threshold": IOU_THRESHOLD,
        "anchors_above_the_score_threshold": {"median": int(np.median(above)), "most": max(above)},
        "by_k": {
            k: {
                "bytes": k * 24,
                "map50_95": round(precision.ap50_95, 5),
                "map50": round(precision.ap50, 5),
                "lost_points": round(100 * (best.ap50_95 - precision.ap50_95), 3),
            }
            for k, precision in measured.items()
        },
        "measured_on": {"onnxruntime": version("onnxruntime"), "date": date.today().isoformat()},
    }


if __name__ == "__main__":
    typer.run(main)
