"""Command line: triton-yolo prove."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from triton_yolo.cli.exits import INTERRUPTED, leave
from triton_yolo.errors import TritonYoloError
from triton_yolo.export.proof_maker import make_proof
from triton_yolo.export.samples import samples
from triton_yolo.export.served_model import served_model_of
from triton_yolo.export.served_proof import detections, proof_of
from triton_yolo.files import write_whole
from triton_yolo.graphs.onnx_file import read_network

COMMAND = "triton-yolo prove"


def main(
    graph: Annotated[Path, typer.Argument(metavar="GRAPH.onnx", exists=True, dir_okay=False, help="A served graph.")],
    images: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Images to choose from.  [default: drawn circuit boards]"),
    ] = None,
) -> None:
    """Make the proof of a served graph that has none, in a file beside it.

    Export and calibration make it themselves. Ends with status 2 if it is no served graph, or finds nothing in the
    images.
    """
    target = proof_of(graph)
    try:
        content = graph.read_bytes()
        model = read_network(graph)
        served = served_model_of(model, graph)
        pictures = samples(images, served.letterbox)
        proof = make_proof(model, content, pictures, served.thresholds)
        write_whole(target, proof.to_bytes())
    except TritonYoloError as error:
        leave(COMMAND, f"{graph}: {error}")
    except OSError as error:
        leave(COMMAND, f"cannot write {target}: {error.strerror}")
    except KeyboardInterrupt:
        leave(COMMAND, "interrupted; nothing was written", INTERRUPTED)
    number = sum(len(detections(rows, proof.score, proof.iou)) for rows in proof.candidates)
    typer.echo(f"{target}: {number} detections in {len(proof.pixels)} pictures")
