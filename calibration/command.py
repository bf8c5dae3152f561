"""Command line: triton-yolo calibrate."""

from __future__ import annotations

import os
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from triton_yolo.calibration.options import AUTO, METHODS, REST, CalibrationOptions
from triton_yolo.cli.exits import INTERRUPTED, leave
from triton_yolo.cli.progress import steadily
from triton_yolo.errors import TritonYoloError
from triton_yolo.nms.letterbox import PLACES

if TYPE_CHECKING:
    from triton_yolo.calibration.calibrate import Calibrated

# What a calibration loads takes two seconds, which --help can do without; what is not installed is told at once.
for package in ("matplotlib", "onnxruntime", "openvino", "supervision"):
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)

COMMAND = "triton-yolo calibrate"
Calibrator = Enum("Calibrator", {name: name for name in (AUTO, *METHODS)}, type=str)  # type: ignore[misc]  # as HeadName
Rest = Enum("Rest", {name: name for name in REST}, type=str)  # type: ignore[misc]
LetterboxPosition = Enum("LetterboxPosition", {place: place for place in PLACES}, type=str)  # type: ignore[misc]
BEST, HALF = Calibrator(AUTO), Rest(REST[0])
RANGES = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "triton-yolo", "ranges")


def as_share(text: str) -> float:
    """Return a percentage, such as "1 %" or "0.5", as a share."""
    try:
        share = float(text.strip().removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise typer.BadParameter(f"{text!r} is not a percentage from 0 to 100, as in 1 or '0.5 %'")
    return share


def main(
    graph: Annotated[
        Path, typer.Argument(metavar="MODEL.onnx", exists=True, dir_okay=False, help="A served float graph.")
    ],
    images: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Folder of JPEGs and PNGs as the camera takes them.")
    ],
    annotations: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="COCO annotations of the images.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="The INT8 graph.  [default: MODEL-int8.onnx beside the graph]")
    ] = None,
    report: Annotated[Path | None, typer.Option(file_okay=False, help="Folder for report.md, JSON and plots.")] = None,
    calibrator: Annotated[
        Calibrator, typer.Option(help="How ranges are found; auto takes the best method for each tensor.")
    ] = BEST,
    max_drop: Annotated[
        float,
        typer.Option(
            parser=as_share, metavar="PERCENT", help="The most mAP50-95 that may be lost, in % of the float graph's."
        ),
    ] = "1 %",  # type: ignore[assignment]  # as_share parses it
    rest: Annotated[
        Rest, typer.Option(help="Type of what is not INT8; box decoding and top-K are always float32.")
    ] = HALF,
    range_images: Annotated[
        int, typer.Option(metavar="N", min=8, help="Images that ranges are measured on, evenly spread.")
    ] = 256,
    evaluation_images: Annotated[
        int, typer.Option(metavar="N", min=8, help="Images that the precision is measured on, evenly spread.")
    ] = 200,
    sensitivity_images: Annotated[
        int, typer.Option(metavar="N", min=1, help="Of those, images that each layer alone is measured on.")
    ] = 16,
    labels: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Class names, if neither the repository nor the graph has them."
        ),
    ] = None,
    letterbox: Annotated[
        LetterboxPosition | None,
        typer.Option(help="Where images are placed in the input, if the graph is in no repository."),
    ] = None,
    ranges: Annotated[
        Path,
        typer.Option(
            file_okay=False,
            help="Folder of ranges and of all that was measured, which later runs on the same graph and images reuse.",
            show_default="~/.cache/triton-yolo/ranges",
        ),
    ] = RANGES,
) -> None:
    """Turn a served float graph into an INT8 graph for TensorRT and OpenVINO, and measure how good it is.

    As few convolutions as possible stay float, so that mAP50-95 falls by at most --max-drop. Without annotations, the
    float graph's own detections take their place. Ends with status 2 if a file cannot be used, or if no graph is good
    enough.
    """
    from triton_yolo.calibration.calibrate import calibrate
    from triton_yolo.calibration.report import write_report

    target = out or graph.with_name(f"{graph.stem}-int8.onnx")
    options = CalibrationOptions(
        calibrator.value,
        max_drop,
        rest.value,
        range_images,
        evaluation_images,
        sensitivity_images,
        labels,
        letterbox.value if letterbox else None,
        ranges,
    )
    try:
        with steadily():
            result = calibrate(graph, images, annotations, options)
        result.write(target)
        if report:
            write_report(report, result.document | {"int8_graph": target.name})
    except TritonYoloError as error:
        leave(COMMAND, str(error))
    except OSError as error:
        leave(COMMAND, f"cannot write {error.filename or target}: {error.strerror}")
    except KeyboardInterrupt:
        leave(COMMAND, "interrupted; what was measured is kept, and no graph was written", INTERRUPTED)
    _show(result, target)


def _show(result: Calibrated, target: Path) -> None:
    content = result.document
    before, after, macs, size = (content[key] for key in ("float", "int8", "macs", "bytes"))
    table = Table(title=str(target), title_justify="left", show_header=False)
    table.add_row("mAP50-95", f"{before['map50_95']:.4f} -> {after['map50_95']:.4f} ({content['judged_by']})")
    table.add_row("in ONNX Runtime", f"{content['int8_onnxruntime']['map50_95']:.4f}")
    table.add_row("lost", f"{content['drop']:.2%} of it; {content['max_drop']:.2%} is allowed")
    table.add_row("INT8", f"{macs['share']:.1%} of the convolutions' MACs")
    table.add_row(
        "float", f"{sum(not layer['int8'] for layer in content['layers'])} of {len(content['layers'])} layers"
    )
    table.add_row("bytes", f"{size['float']:,} -> {size['int8']:,}: {size['share']:.1%}")
    if skipped := content["images"]["skipped"]:
        name, why = next(iter(skipped.items()))
        table.add_row("skipped", f"{len(skipped)} images that cannot be read, the first is {name}: {why}")
    Console().print(table)
    if before["map50_95"] * (1 - content["max_drop"]) > content["int8_onnxruntime"]["map50_95"]:
        typer.echo(
            "Note: ONNX Runtime, which rounds to float16 where the graph says so, as a GPU does, loses more than is "
            "allowed: compare with --rest fp32",
            err=True,
        )
