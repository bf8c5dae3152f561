"""Command line: python -m export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import onnx
import typer
from google.protobuf.message import DecodeError

from clients.command import leave
from clients.files import write_whole
from export.served_graph import OUTPUT, served_graph
from server.config import read_config
from server.errors import ServerError

ROOT = Path(__file__).resolve().parents[1]


def main(
    network: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="ONNX of the trained network.")],
    repository: Annotated[Path, typer.Option(help="Model repository to put the graph into.")] = (
        ROOT / "model_repository"
    ),
) -> None:
    """Make the graph that the repository's model ``yolo`` serves, out of a YOLOv9 that LibreYOLO exported."""
    target = repository / "yolo" / "1" / "model.onnx"
    try:
        outputs = read_config(repository / "yolo" / "config.pbtxt").output
        top_k = next(output.dims[0] for output in outputs if output.name == OUTPUT)
        graph = served_graph(onnx.load(network), top_k)
        write_whole(target, graph.SerializeToString(deterministic=True))
    except DecodeError:
        leave("export", f"{network} is not an ONNX file")
    except (ServerError, ValueError) as error:
        leave("export", str(error))
    except OSError as error:
        leave("export", f"cannot write {target}: {error.strerror}")
    typer.echo(f"{target} serves {network}")


if __name__ == "__main__":
    typer.run(main)
