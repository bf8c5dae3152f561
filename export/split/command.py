"""What triton-yolo export --split does beside the export."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx
import typer

from triton_yolo.cli.progress import working
from triton_yolo.export.errors import ExportError
from triton_yolo.export.repository import write_split
from triton_yolo.export.samples import Pixels, samples
from triton_yolo.export.served_model import served_model_of
from triton_yolo.export.served_proof import ServedProof
from triton_yolo.export.split.cut import find_cut, shown_tensors
from triton_yolo.export.split.proved import Split, split_graph
from triton_yolo.nms.letterbox import Letterbox
from triton_yolo.repository import GRAPH_PATH, repository_of


def repository_to_split(graph: Path, others: Iterable[object]) -> Path:
    """Return the repository that serves a graph.

    Args:
        graph: of the file.
        others: options that say how a network is exported, None where they were not given.

    Raises:
        ExportError: it is in none, or another option was given, which would change nothing.
    """
    if any(option is not None for option in others):
        raise ExportError(
            "a served graph is cut in two as it is, where it is: leave out all options but --split, --split-at, "
            "--images and --inspect"
        )
    target = repository_of(graph)
    if target is None:
        raise ExportError("a served graph is cut in two where it is served, as REPOSITORY/yolo/1/model.onnx")
    return target


def split_there(
    target: Path, graph: onnx.ModelProto, names: Sequence[str], images: Path | None, inspect: bool
) -> list[Path]:
    """Cut the graph that a repository serves in two.

    Args:
        target: the repository.
        graph: that it serves.
        names: of the tensors at which to cut; empty finds them.
        images: folder of pictures to prove it with; None draws them.
        inspect: say where it would be cut, and write nothing.

    Returns:
        the files that were removed there.

    Raises:
        ExportError: as split_graph.
        ProofError: the graph's proof cannot be used.
        OSError: a file cannot be written.
    """
    if inspect:
        show_cut(graph, names)
        return []
    path = target / GRAPH_PATH
    served, proof = served_model_of(graph, path), ServedProof.carried_by(path)
    split = cut(graph, names, samples(images, served.letterbox), proof, served.letterbox)
    return write_split(target, split, served)


def cut(
    graph: onnx.ModelProto, names: Sequence[str], pictures: Pixels, proof: ServedProof, letterbox: Letterbox
) -> Split:
    """Cut a graph in two, and say where and how it was proved; arguments are those of split_graph."""
    with working("Cutting the served graph in two, and holding the halves against the whole"):
        halves = split_graph(graph, names, pictures, proof, letterbox)
    typer.echo(f"In two halves: {halves}")
    return halves


def show_cut(graph: onnx.ModelProto, names: Sequence[str]) -> None:
    """Say where a graph would be cut."""
    with working("Looking for the place to cut"):
        tensors = find_cut(graph, names)
    whole = sum(tensor.size for tensor in tensors)
    exact = all(tensor.scale is not None for tensor in tensors)
    typer.echo(
        f"Would be cut at {shown_tensors(tensors)}: {whole:,} bytes of features an image"
        + (", where the graph quantises by itself" if exact else "")
    )
