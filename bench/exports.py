"""Command line: python -m bench.exports DIR, what the export makes of every ONNX file in a folder."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import date
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from triton_yolo.cli.exits import leave
from triton_yolo.cli.progress import tracked
from triton_yolo.errors import GraphError
from triton_yolo.export.command import TOP_K
from triton_yolo.export.errors import ExportError
from triton_yolo.export.network import Network, dims_of, image_input, prepare
from triton_yolo.export.pixels import PixelFormat
from triton_yolo.export.proof import prove
from triton_yolo.export.recognise import ExportOptions, RecognisedNetwork, recognise
from triton_yolo.export.samples import samples
from triton_yolo.export.served_graph import served_graph
from triton_yolo.files import write_whole
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.graphs.structure import opset_of

ROOT = Path(__file__).resolve().parents[1]
MADE_WITH = "made_with.json"  # beside the files: versions of what made them
PACKAGES = ("onnx", "onnxruntime", "numpy", "opencv-python-headless")


def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="Folder of the files.")],
    out: Annotated[Path, typer.Option(help="File for the results.")] = ROOT / "bench/results/exports.json",
    size: Annotated[int | None, typer.Option(min=1, help="Pixels, for the files that leave their size open.")] = None,
    input_format: Annotated[
        list[str] | None,
        typer.Option(
            "--input", help="As triton-yolo export takes it, where it is not recognised; the first that fits."
        ),
    ] = None,
) -> None:
    """Export every .onnx below DIR, without writing repositories, and say what was recognised, proved or refused."""
    try:
        said = tuple(PixelFormat.parse(text) for text in input_format or ())
        made_with = _made_with(folder / MADE_WITH)
    except ExportError as error:
        leave("python -m bench.exports", str(error))
    files = sorted(folder.rglob("*.onnx"))
    if not files:
        leave("python -m bench.exports", f"there is no .onnx below {folder}")
    rows = []
    for path in tracked(files, len(files), "Exporting"):
        rows.append({"file": path.relative_to(folder).as_posix(), **_row(path, folder, size, said)})
    results = Counter(row["result"] for row in rows)
    document = {
        "top_k": TOP_K,
        "files": results,
        "rows": rows,
        "made_with": made_with,
        "measured_on": {**{name: version(name) for name in PACKAGES}, "date": date.today().isoformat()},
    }
    try:
        write_whole(out, f"{json.dumps(document, indent=2, allow_nan=False)}\n".encode())
    except OSError as error:
        leave("python -m bench.exports", f"cannot write {out}: {error.strerror}")
    typer.echo(", ".join(f"{number} {result}" for result, number in results.items()) + f": {out}")


def _made_with(path: Path) -> object:
    """Return what the folder says about its files; None where it says nothing."""
    try:
        return json.loads(path.read_text()) if path.exists() else None
    except ValueError:
        raise ExportError(f"{path} is not JSON") from None


def _row(path: Path, folder: Path, size: int | None, said: tuple[PixelFormat, ...]) -> dict[str, Any]:
    """Return what becomes of one file: proved, refused with the reason, not proved, or a defect of the export."""
    row: dict[str, Any] = {}
    try:
        _export(path, size, said, row)
    except GraphError as error:
        row |= {"result": "refused", "error": _relative(error, folder)}
    except Exception as error:  # a defect: its row says so, and the files after it are still looked at
        row |= {"result": "defect", "error": f"{type(error).__name__}: {_relative(error, folder)}"}
    return row


def _export(path: Path, size: int | None, said: tuple[PixelFormat, ...], row: dict[str, Any]) -> None:
    """Do what triton-yolo export does before it writes, and fill the row as far as that gets."""
    model = read_network(path)
    batch, _, *sides = dims_of(image_input(model))
    row |= {"opset": opset_of(model), "batch": batch or "free"}
    side = size if None in sides else None
    network = prepare(model, (side, side) if side else None)
    row["size"] = f"{network.height}x{network.width}"
    recognised, wished = _read(network, said)
    row |= {
        "head": recognised.head.name,
        "input": str(recognised.pixels),
        "letterbox": "centred" if recognised.letterbox.centred else "top-left",
        "classes": len(recognised.labels),
        "options": [*([f"--size {side}"] if side else []), *([f"--input {wished}"] if wished else [])],
    }
    graph = served_graph(network, recognised, TOP_K)
    proof = prove(network, recognised, graph, _pictures(recognised.letterbox))
    row |= {
        "box": _number(proof.box),
        "score": _number(proof.score),
        "detections": proof.detections,
        "result": "proved" if proof.holds else "not proved",
    }


def _read(network: Network, said: tuple[PixelFormat, ...]) -> tuple[RecognisedNetwork, PixelFormat | None]:
    """Return the recognised, with the first of the formats that fits if there is none without; and that format."""
    refused = None
    for pixels in (None, *said):
        try:
            return recognise(network, ExportOptions(pixels=pixels)), pixels
        except ExportError as error:
            refused = error
    raise refused or AssertionError


@lru_cache(maxsize=4)
def _pictures(letterbox: Any) -> npt.NDArray[np.uint8]:
    return samples(None, letterbox)


def _number(value: float) -> float | None:
    """Return two digits; None where the numbers of detections or their classes differ."""
    return float(f"{value:.2g}") if math.isfinite(value) else None


def _relative(error: Exception, folder: Path) -> str:
    """Return the error in one line, with names as in the rows."""
    text = " ".join(str(error).split())
    for prefix in {f"{folder}/", f"{folder.resolve()}/"}:
        text = text.replace(prefix, "")
    return text


if __name__ == "__main__":
    typer.run(main)
