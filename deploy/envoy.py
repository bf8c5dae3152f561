"""Command line: python -m deploy.envoy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from triton_yolo.cli.exits import leave
from triton_yolo.files import write_whole
from triton_yolo.server.fleet.envoy_clusters import Name
from triton_yolo.server.fleet.envoy_config import bootstrap

COMMAND = "python -m deploy.envoy"
CHART = Path(__file__).parent / "helm" / "triton-yolo"
SERVERS = "servers.triton-yolo.internal"  # the chart puts the name of its headless service here
MOST = 16  # servers, for the bound on requests in flight
ADMIN = {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}  # in the pod alone


def chart_config() -> str:
    """Return the configuration of the chart's Envoy, as JSON."""
    config = bootstrap("0.0.0.0", 8001, 8000, Name(SERVERS), MOST, ADMIN, figures=8002)
    return f"{json.dumps(config, indent=1)}\n"


def main(
    out: Annotated[Path, typer.Option(dir_okay=False, help="File to write.")] = CHART / "files" / "envoy.json",
) -> None:
    """Write the configuration of Envoy in the Helm chart, from the same code as that of `triton-yolo serve`."""
    try:
        write_whole(out, chart_config().encode())
    except OSError as error:
        leave(COMMAND, f"cannot write {out}: {error.strerror}")


if __name__ == "__main__":
    typer.run(main)
