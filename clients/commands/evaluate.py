"""Command line: triton-yolo evaluate."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from triton_yolo.cli.exits import INTERRUPTED, leave
from triton_yolo.cli.progress import tracked
from triton_yolo.clients.access import Access
from triton_yolo.clients.coco import (
    IOU_THRESHOLD,
    SCORE_THRESHOLD,
    AnnotationError,
    Annotations,
    Result,
    evaluate,
    read_annotations,
    unknown_names,
)
from triton_yolo.clients.commands.options import URL, ApiKey, TlsCa, TlsCertificate, TlsKey, Url, threshold_option
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.protocols.calls import model_metadata, server_metadata
from triton_yolo.clients.request import ENCODED
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole

COMMAND = "triton-yolo evaluate"


def main(
    images: Annotated[Path, typer.Option(metavar="FOLDER", exists=True, file_okay=False, help="Folder of the images.")],
    annotations: Annotated[
        Path, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="COCO annotations of the images.")
    ],
    url: Url = URL,
    score_threshold: Annotated[
        float, threshold_option("Lowest score; low, because average precision needs the whole curve.")
    ] = SCORE_THRESHOLD,
    iou_threshold: Annotated[
        float,
        threshold_option(
            "Highest overlap of two boxes of a class; higher than for daily use, because boxes side by side "
            "count for more here than duplicates of low score."
        ),
    ] = IOU_THRESHOLD,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", dir_okay=False, help="Write the figures into this file.")
    ] = None,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    api_key: ApiKey = None,
) -> None:
    """Measure the average precision of a running server on labelled images.

    Classes are matched by name. Exit code 2: the files, the names or the server cannot be used.
    """
    try:
        labelled = read_annotations(annotations)
        files = _files(labelled, images)
        with Detector(url, access=Access(tls_ca, tls_certificate, tls_key, api_key)) as detector:
            _check_names(labelled, detector.labels())
            found = _detect(detector, files, score_threshold, iou_threshold)
            origin = {
                "images": images.resolve().name,
                "annotations": annotations.name,
                "number_of_images": len(labelled.images),
                "number_of_boxes": len(labelled.boxes),
                "score_threshold": score_threshold,
                "iou_threshold": iou_threshold,
                **_server(detector),
                "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            }
        result = evaluate(labelled, found)
        if as_json:
            write_whole(as_json, (json.dumps(_document(result, origin), indent=2) + "\n").encode())
    except TritonYoloError as error:
        leave(COMMAND, str(error))
    except OSError as error:
        leave(COMMAND, f"cannot write {as_json}: {error.strerror}")
    except KeyboardInterrupt:
        leave(COMMAND, "interrupted", INTERRUPTED)
    _show(result, labelled)


def _files(annotations: Annotations, folder: Path) -> dict[int, Path]:
    """Return the file of each image id; all must be there before anything is sent."""
    files = {number: folder / name for number, name in annotations.images.items()}
    missing = [path for path in files.values() if not path.is_file()]
    if missing:
        raise AnnotationError(f"{len(missing)} of {len(files)} images are not there, the first is {missing[0]}")
    return files


def _check_names(annotations: Annotations, labels: tuple[str, ...]) -> None:
    annotated = annotations.categories.values()
    if unknown := unknown_names(annotations, labels):
        raise AnnotationError(
            f"the server does not know {', '.join(unknown)}: it detects {', '.join(labels)}; "
            f"the annotations have {', '.join(annotated)}"
        )
    if extra := [name for name in labels if name not in annotated]:
        typer.echo(
            f"The annotations have no {', '.join(extra)}: what the server finds of them is not counted.", err=True
        )


def _detect(detector: Detector, files: dict[int, Path], score: float, iou: float) -> dict[int, Detections]:
    results = detector.detect_many(files.values(), score_threshold=score, iou_threshold=iou)
    return dict(zip(files, tracked(results, len(files), "Detecting"), strict=True))


def _server(detector: Detector) -> dict[str, str]:
    """Return the names and versions of the server and of its model."""
    call = detector.protocol.call
    server, model = call(server_metadata()), call(model_metadata(ENCODED))
    return {
        "server": f"{server['name']} {server['version']}",
        "model": str(model["name"]),
        "model_version": str(max(map(int, model["versions"]))),
    }


def _document(result: Result, origin: dict[str, Any]) -> dict[str, Any]:
    """Return the content of the file for --json; null where a class has no box to find."""

    def number(value: float) -> float | None:
        return None if math.isnan(value) else round(value, 4)

    return {
        "map50_95": number(result.overall.ap50_95),
        "map50": number(result.overall.ap50),
        "per_class": {
            name: {"ap50_95": number(precision.ap50_95), "ap50": number(precision.ap50)}
            for name, precision in result.per_class.items()
        },
        "measured_on": origin,
    }


def _show(result: Result, annotations: Annotations) -> None:
    table = Table(title=f"{len(annotations.images)} images, {len(annotations.boxes)} boxes", title_justify="left")
    table.add_column("class")
    for name in ("boxes", "AP 50-95", "AP 50"):
        table.add_column(name, justify="right")
    boxes = [annotations.categories[box["category_id"]] for box in annotations.boxes]
    for name, precision in result.per_class.items():
        table.add_row(name, str(boxes.count(name)), f"{precision.ap50_95:.3f}", f"{precision.ap50:.3f}")
    table.add_section()
    table.add_row("mean", str(len(boxes)), f"{result.overall.ap50_95:.3f}", f"{result.overall.ap50:.3f}")
    Console().print(table)
