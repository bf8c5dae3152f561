"""The float graph that the served INT8 graph was made from, in a repository of its own, to compare the two."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.errors import BenchError
from triton_yolo.errors import GraphError
from triton_yolo.export.network import prepare
from triton_yolo.export.proof_maker import write_graph
from triton_yolo.export.recognise import ExportOptions, recognise
from triton_yolo.export.samples import samples
from triton_yolo.export.served_graph import rows_of, served_graph
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.repository import GRAPH_PATH

NETWORK = Path(__file__).resolve().parents[1] / "models" / "pcb-yolov9t-elan.onnx"  # of the default model


def float_repository(network: Path, repository: Path, folder: Path) -> Path:
    """Copy a repository, and put the network in as it was before quantisation.

    Args:
        network: the ONNX file that the repository's graph was made from.
        repository: to copy.
        folder: to make.

    Returns:
        the folder.

    Raises:
        BenchError: the network is none that this repository could serve.
    """
    try:
        served = read_network(repository / GRAPH_PATH)
        prepared = prepare(read_network(network), None)
        recognised = recognise(prepared, ExportOptions())
        graph = served_graph(prepared, recognised, rows_of(served))
    except GraphError as error:
        raise BenchError(str(error)) from None
    if graph.graph.input != served.graph.input:
        raise BenchError(f"{repository} serves another network than {network}: its images have another size")
    shutil.copytree(repository, folder)
    write_graph(folder / GRAPH_PATH, graph, samples(None, recognised.letterbox))
    return folder
