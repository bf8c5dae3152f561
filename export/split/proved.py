"""Cuts a served graph in two, and proves that the halves find what the whole finds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from triton_yolo.clients.stream.edge import EdgeProof
from triton_yolo.contract import OUTPUT
from triton_yolo.export.errors import ExportError
from triton_yolo.export.served_proof import Comparison, ServedProof
from triton_yolo.export.split.cut import find_cut, shown_tensors
from triton_yolo.export.split.halves import Halves, Pixels, cut_in_two, run
from triton_yolo.graphs.runner import Runner
from triton_yolo.nms.letterbox import Letterbox


@dataclass(frozen=True)
class Split:
    """The halves as they are written.

    Attributes:
        halves: of the graph.
        edge: the content of the edge half's file.
        edge_proof: of its proof's.
        head: of the server half's.
        head_proof: of its proof's.
        comparison: of both together with the whole graph.
        same: whether their candidates are the whole graph's to the last bit.
    """

    halves: Halves
    edge: bytes
    edge_proof: bytes
    head: bytes
    head_proof: bytes
    comparison: Comparison
    same: bool

    def __str__(self) -> str:
        """Return what was cut where, and how it was proved."""
        found = f"the same candidates to the last bit, {self.comparison}" if self.same else str(self.comparison)
        where = f"{shown_tensors(self.halves.tensors)}: {self.halves.length:,} bytes of features an image"
        return f"cut at {where}; proved: {found}"


def split_graph(
    graph: onnx.ModelProto, names: Sequence[str], pictures: Pixels, proof: ServedProof, letterbox: Letterbox
) -> Split:
    """Cut a served graph in two.

    Both halves are run with ONNX Runtime, on the pictures and on those of the graph's proof, and compared with the
    whole graph. The server half carries the features of the proof's pictures and what the whole graph finds in them;
    the edge half carries two of the pictures and their features.

    Args:
        graph: a served graph.
        names: of the tensors at which to cut; empty finds them.
        pictures: uint8 [N, 3, H, W], RGB, letterboxed.
        proof: of the graph.
        letterbox: how images are fitted into its input.

    Raises:
        ExportError: it cannot be cut, or the halves find something else.
    """
    halves = cut_in_two(graph, find_cut(graph, names), pictures)
    every = np.concatenate([proof.pixels, pictures])
    features, found = run(halves, every)
    runner = Runner(graph)
    whole = [runner.run(picture[None])[OUTPUT][0] for picture in every]
    comparison = replace(proof, candidates=tuple(whole)).compare(list(found), "int8")
    if not comparison.holds:
        raise ExportError(
            f"the halves find something else than the whole graph: {comparison}. Nothing was written: cut it elsewhere "
            "with --split-at NAME,NAME, or quantise it first with `triton-yolo calibrate` and split that graph"
        )
    edge, head = (half.SerializeToString(deterministic=True) for half in (halves.edge, halves.head))
    of_proof = features[: len(proof.pixels)]
    shown = [0, len(of_proof) - 1]  # in white light, and in coloured
    return Split(
        halves,
        edge,
        EdgeProof(halves.network, letterbox, every[shown], of_proof[shown], _sha256(edge)).to_bytes(),
        head,
        replace(proof, pixels=of_proof, graph_sha256=_sha256(head), arithmetic="int8").to_bytes(),
        comparison,
        all(np.array_equal(one, other) for one, other in zip(found, whole, strict=True)),
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
