"""A small network whose answers can be worked out by hand, in a copy of the default repository."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, parser

from tests.export.opened import pictures
from triton_yolo.export.network import prepare
from triton_yolo.export.pixels import PixelFormat
from triton_yolo.export.proof_maker import write_graph
from triton_yolo.export.recognise import ExportOptions, recognise
from triton_yolo.export.served_graph import rows_of, served_graph

CELL, GRID = 16, 40  # GRID x GRID cells of CELL pixels


def cells_network() -> onnx.ModelProto:
    """One box for each cell: its class is the brightest channel, its score and size grow with the brightness.

    A cell with the means r, g, b in 0..1 is a box around its centre that reaches 6 + 10 * (r + g + b) / 3 pixels each
    way, with the scores r, g, b times a factor that falls from 1 in the first cell to 0.9 in the last, so that no two
    cells tie.
    """
    model = parser.parse_model(f"""<ir_version: 10, opset_import: ["" : 20]>
        cells (float[N, 3, 640, 640] images) => (float[N, 7, {GRID * GRID}] predictions)
        <int64[3] flat = {{0, 3, {GRID * GRID}}}, int64[1] channels = {{1}},
         float least = {{6.0}}, float more = {{10.0}}>
        {{
            pooled = AveragePool <kernel_shape = [{CELL}, {CELL}], strides = [{CELL}, {CELL}]> (images)
            means = Reshape (pooled, flat)
            brightness = ReduceMean (means, channels)
            growth = Mul (brightness, more)
            reach = Add (growth, least)
            low = Sub (centres, reach)
            high = Add (centres, reach)
            scores = Mul (means, ranks)
            predictions = Concat <axis = 1> (low, high, scores)
        }}""")
    row, column = np.divmod(np.arange(GRID * GRID, dtype=np.float32), GRID)
    centres = (np.stack([column, row])[None] + 0.5) * CELL
    ranks = np.linspace(1, 0.9, GRID * GRID, dtype=np.float32)[None, None]
    model.graph.initializer.extend(
        numpy_helper.from_array(array.astype(np.float32), name)
        for name, array in [("centres", centres), ("ranks", ranks)]
    )
    return model


def copy_with_cells(repository: Path, target: Path) -> Path:
    """Copy a repository and put the cells network into it."""
    shutil.copytree(repository, target)
    network = prepare(cells_network(), None)
    recognised = recognise(network, ExportOptions("xyxy", PixelFormat.parse("rgb-0-1")))
    graph = target / "yolo" / "1" / "model.onnx"
    write_graph(graph, served_graph(network, recognised, rows_of(onnx.load(graph))), pictures(2, (640, 640)))
    return target
