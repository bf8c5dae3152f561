"""Command line: triton-yolo export."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Annotated

import onnx
import typer
from rich.console import Console
from rich.table import Table

from triton_yolo.cli.exits import INTERRUPTED, leave
from triton_yolo.cli.progress import working
from triton_yolo.errors import TritonYoloError
from triton_yolo.export.cost import cost_of
from triton_yolo.export.errors import ExportError
from triton_yolo.export.heads import HEADS
from triton_yolo.export.labels import read_labels
from triton_yolo.export.network import Network, prepare
from triton_yolo.export.pixels import PixelFormat
from triton_yolo.export.proof import BOX_TOLERANCE, SCORE_TOLERANCE, Proof, prove
from triton_yolo.export.proof_maker import make_proof
from triton_yolo.export.recognise import ExportOptions, RecognisedNetwork, recognise
from triton_yolo.export.repository import write_repository
from triton_yolo.export.samples import samples
from triton_yolo.export.served_graph import MAX_TOP_K, is_served, rows_of, served_graph
from triton_yolo.export.served_model import served_model_for
from triton_yolo.export.split.command import cut, repository_to_split, show_cut, split_there
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.graphs.structure import opset_of
from triton_yolo.nms.letterbox import PLACES, ROUNDINGS

HeadName = Enum("HeadName", {name: name for name in HEADS}, type=str)  # type: ignore[misc]  # mypy wants literals
LetterboxPosition = Enum("LetterboxPosition", {place: place for place in PLACES}, type=str)  # type: ignore[misc]
Rounding = Enum("Rounding", {rounding: rounding for rounding in ROUNDINGS}, type=str)  # type: ignore[misc]

TOP_K = 1000

LARGEST = 4096  # pixels a side of a network's input


class Classes(str, Enum):
    """What --classes takes."""

    best = "best"
    all = "all"


def main(
    network: Annotated[Path, typer.Argument(metavar="MODEL.onnx", exists=True, dir_okay=False, help="The network.")],
    repository: Annotated[
        Path | None,
        typer.Option(help="Folder to write.  [default: MODEL_repository beside the model]", file_okay=False),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Class names, one a line or as YAML.  [default: those in the file]"
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW", help="Height x width in pixels, or one number for both, where the file leaves it open."
        ),
    ] = None,
    top_k: Annotated[
        int, typer.Option(metavar="K", min=1, max=MAX_TOP_K, help="Candidates of an image that leave the network.")
    ] = TOP_K,
    max_detections: Annotated[
        int, typer.Option(metavar="M", min=1, max=MAX_TOP_K, help="The most detections of an image that are answered.")
    ] = 100,
    head: Annotated[HeadName | None, typer.Option(help="Layout of the predictions, if it is not recognised.")] = None,
    input_format: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="FORMAT",
            help="Channels and range that the network was trained on: rgb-0-1, rgb-0-255, bgr-0-1 or bgr-0-255.",
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="Subtracted from the channels, in the order and range of --input."),
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="What the difference is divided by, likewise.")
    ] = None,
    letterbox: Annotated[
        LetterboxPosition | None, typer.Option(help="Where images were placed in the input in training.")
    ] = None,
    rounding: Annotated[
        Rounding | None,
        typer.Option(help="How the sizes of resized images are rounded: as in training, or up, as `yolo val` does."),
    ] = None,
    classes: Annotated[
        Classes,
        typer.Option(
            help="Classes that a box may be reported with: its best one, or all, as in the validation of Ultralytics "
            "and YOLOv5."
        ),
    ] = Classes.best,
    images: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Images to prove it with.  [default: drawn circuit boards]"),
    ] = None,
    split: Annotated[
        bool,
        typer.Option(
            "--split",
            help="Cut the served graph in two as well: a half for the camera's side, and one behind it for the server. "
            "MODEL.onnx may be a repository's served graph too, as calibrate leaves it.",
        ),
    ] = False,
    split_at: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME", help="The tensors to cut it at, in the order of the graph.  [default: found]"
        ),
    ] = None,
    inspect: Annotated[
        bool, typer.Option("--inspect", help="Print what is recognised and what it costs; write nothing.")
    ] = False,
) -> None:
    """Make a model repository from the ONNX file of a YOLO network, and prove that it detects the same.

    Ends with status 2 and writes nothing if the network cannot be served, or if the served graph detects something
    else.
    """
    target = repository or network.parent / f"{network.stem}_repository"
    names = [name.strip() for name in split_at.split(",")] if split_at else []
    try:
        model = read_network(network)
        if (split or names) and is_served(model):
            others = (repository, labels, size, head, input_format, mean, std, letterbox, rounding)
            target = repository_to_split(network, others)
            removed = split_there(target, model, names, images, inspect)
            if not inspect:
                _ready(target, removed)
            return
        options = ExportOptions(
            head.value if head else None,
            _pixels(input_format, mean, std),
            None if letterbox is None else letterbox.value == PLACES[0],
            rounding.value if rounding else None,
            read_labels(labels) if labels else None,
            classes is Classes.all,
        )
        with working(f"Reading {network.name} and running it on two pictures of noise"):
            prepared = prepare(model, parse_size(size))
            recognised = recognise(prepared, options)
            graph = served_graph(prepared, recognised, top_k)
        _show(network, prepared, recognised, graph)
        if inspect:
            if split or names:
                show_cut(graph, names)
            return
        with working("Holding the served graph against the original"):
            served = served_model_for(recognised, graph, max_detections)
            pictures = samples(images, served.letterbox)
            proof = prove(prepared, recognised, graph, pictures)
        _check(proof)
        content = graph.SerializeToString(deterministic=True)
        carried = make_proof(graph, content, pictures, served.thresholds)
        halves = cut(graph, names, pictures, carried, served.letterbox) if split or names else None
        removed = write_repository(target, content, carried.to_bytes(), served, halves)
    except TritonYoloError as error:
        leave("triton-yolo export", str(error))
    except OSError as error:
        leave("triton-yolo export", f"cannot write {target}: {error.strerror}")
    except KeyboardInterrupt:
        leave("triton-yolo export", "interrupted; nothing was written", INTERRUPTED)
    _ready(target, removed)


def _ready(target: Path, removed: list[Path]) -> None:
    for path in removed:
        typer.echo(f"Removed {path}: it was built from another graph")
    typer.echo(f"{target} is ready: triton-yolo serve --repository {target}")


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Return the height and width that --size gives, None for None.

    Raises:
        ExportError: it is no size.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text)
    if match is None:
        raise ExportError(f"--size takes pixels, S or HxW (height x width), as in 640 or 384x640, got {text!r}")
    height, width = int(match[1]), int(match[2] or match[1])
    if max(height, width) > LARGEST:
        raise ExportError(f"--size {text} is more than {LARGEST} pixels a side")
    return height, width


def _pixels(text: str | None, mean: str | None, std: str | None) -> PixelFormat | None:
    if text is None:
        if mean is not None or std is not None:
            raise ExportError(
                "--mean and --std are in the order and range of --input: give it too, as in --input rgb-0-1"
            )
        return None
    return PixelFormat.parse(text, mean, std)


def _show(path: Path, network: Network, recognised: RecognisedNetwork, graph: onnx.ModelProto) -> None:
    """Print what was recognised, and what it costs."""
    rows = rows_of(graph)
    cost = cost_of(network, recognised, rows)
    before, after = opset_of(network.original.model), opset_of(graph)
    names = ", ".join(recognised.labels[:6]) + (", ..." if len(recognised.labels) > 6 else "")
    table = Table(title=str(path), title_justify="left", show_header=False)
    for name, value in (
        ("head", f"{recognised.head.name}: {recognised.head.families}"),
        ("input", f"{network.height}x{network.width} (height x width), {recognised.pixels}"),
        (
            "letterbox",
            f"{PLACES[0] if recognised.letterbox.centred else PLACES[1]}, sizes rounded {_rounding(recognised)}",
        ),
        ("classes", f"{len(recognised.labels)}: {names}"),
        ("found of a box", "every class" if recognised.every_class else "the best class"),
        ("batch", "free" if network.free_batch else f"free; the file has {network.original.batch}"),
        ("operator set", f"{after}" if before == after else f"{after}; the file has {before}"),
        ("parameters", f"{cost.parameters / 1e6:.2f} million"),
        ("MACs an image", f"{cost.macs / 1e9:.2f} billion"),
        ("bytes in", _factor(cost.bytes_in, "uint8 pixels")),
        ("bytes out", _factor(cost.bytes_out, f"{rows} candidates")),
    ):
        table.add_row(name, value)
    console = Console()
    console.print(table)
    for note in recognised.notes:
        console.print(f"Note: {note}", soft_wrap=True, highlight=False)


def _rounding(recognised: RecognisedNetwork) -> str:
    rounding = recognised.letterbox.rounding
    return "to the nearest pixel" if rounding == ROUNDINGS[0] else rounding


def _factor(pair: tuple[int, int], what: str) -> str:
    before, after = pair
    return f"{before:,} -> {after:,} ({what}): {before / after:.1f} times less"


def _check(proof: Proof) -> None:
    found = (
        f"largest difference between the original and the served graph: boxes {proof.box:.2g} px, "
        f"scores {proof.score:.2g} ({proof.detections} detections in {proof.images} images)"
    )
    if not proof.holds:
        raise ExportError(
            f"{found}. More than {BOX_TOLERANCE} px or {SCORE_TOLERANCE} is not served, and nothing was written: check "
            "--head and --input, or report it with the file"
        )
    typer.echo(f"Proved: {found}")
