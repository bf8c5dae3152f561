"""The float graph that the served INT8 graph was made from, in a repository of its own, to compare the two."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.errors import BenchError
from export.errors import ExportError
from export.network import prepare
from export.onnx_file import read_network
from export.prove import write_graph
from export.recognise import Wishes, recognise
from export.repository import GRAPH
from export.samples import letterbox_of, samples
from export.served_graph import rows_of, served_graph

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
        served = read_network(repository / GRAPH)
        prepared = prepare(read_network(network), None)
        reading = recognise(prepared, Wishes())
        graph = served_graph(prepared, reading, rows_of(served))
    except ExportError as error:
        raise BenchError(str(error)) from None
    if graph.graph.input != served.graph.input:
        raise BenchError(f"{repository} serves another network than {network}: its images have another size")
    shutil.copytree(repository, folder)
    write_graph(folder / GRAPH, graph, samples(None, letterbox_of(prepared, reading)))
    return folder
