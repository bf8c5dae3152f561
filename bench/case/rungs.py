"""The ladder: each rung changes one thing of the one below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.case.repositories import FIRST, FLOAT, SERVED

Stream = Literal["encoded", "raw"]  # JPEGs, or the pixels of a sensor


@dataclass(frozen=True)
class Rung:
    """One way to serve the line.

    Attributes:
        number: of the change; the same one has the same number for both streams.
        stream: what the cameras deliver.
        name: short name.
        change: what is other than below, in words.
        repository: which one is served.
        kind: what the client does: see ``ways``.
    """

    number: int
    stream: Stream
    name: str
    change: str
    repository: str
    kind: str


ENCODED: tuple[Rung, ...] = (
    Rung(
        0,
        "encoded",
        "written first",
        "OpenCV decodes in the client, float32 tensors over gRPC, a frame a request, float32 network, suppression of "
        "all boxes in the client",
        FIRST,
        "first_encoded",
    ),
    Rung(
        1,
        "encoded",
        "graph",
        "normalisation and top-K in the graph: uint8 in, candidates out",
        FLOAT,
        "graph_encoded",
    ),
    Rung(2, "encoded", "decoding served", "the server decodes, letterboxes and suppresses", FLOAT, "jpeg"),
    Rung(3, "encoded", "arithmetic", "INT8 or float16, as is right and fastest there", SERVED, "jpeg"),
    Rung(4, "encoded", "overlap", "frames of all cameras are under way, two of each", SERVED, "jpegs"),
)
RAW: tuple[Rung, ...] = (
    Rung(
        0,
        "raw",
        "written first",
        "OpenCV letterboxes in the client, float32 tensors over gRPC, a frame a request, float32 network, suppression "
        "of all boxes in the client",
        FIRST,
        "first_raw",
    ),
    Rung(1, "raw", "graph", "normalisation and top-K in the graph: uint8 in, candidates out", FLOAT, "graph_raw"),
    Rung(3, "raw", "arithmetic", "INT8 or float16, as is right and fastest there", SERVED, "graph_raw"),
    Rung(
        4,
        "raw",
        "one request",
        "whole frames of all cameras in one request, two under way; the server letterboxes and suppresses",
        SERVED,
        "bytes",
    ),
    Rung(5, "raw", "shared memory", "shared memory instead of bytes", SERVED, "shared"),
    Rung(6, "raw", "sensor format", "Bayer instead of RGB", SERVED, "bayer"),
    Rung(
        7,
        "raw",
        "tiles",
        "over gRPC, and of each RGB frame only what has changed: of 4 frames a board stands for, 1 is new",
        SERVED,
        "tiles",
    ),
)
RUNGS: Sequence[Rung] = (*ENCODED, *RAW)
