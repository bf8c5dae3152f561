"""Command line: python -m deploy.envoy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from triton_yolo.cli.exits import leave
from triton_yolo.files import write_whole
from triton_yolo.server.fleet.envoy_access import KEYS, RATES, Doors, authorities, certificate, transport_socket
from triton_yolo.server.fleet.envoy_clusters import Config, Name
from triton_yolo.server.fleet.envoy_config import bootstrap

COMMAND = "python -m deploy.envoy"
CHART = Path(__file__).parent / "helm" / "triton-yolo"
SERVERS = "servers.triton-yolo.internal"  # the chart puts the name of its headless service here
MOST = 16  # servers, for the bound on requests in flight
ADMIN = {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}  # in the pod alone
MOUNTS = {"config": "/etc/envoy", "tls": "/etc/envoy-tls", "clients": "/etc/envoy-clients", "keys": "/etc/envoy-keys"}
OPEN = Doors()
TLS = OPEN._replace(certificate={"path": f"{MOUNTS['config']}/certificate.json"})
CLIENTS = TLS._replace(clients={"path": f"{MOUNTS['config']}/clients.json"})


def with_keys(doors: Doors) -> Doors:
    """Return the same doors for clients alone that have a key of the secret."""

    def source(name: str) -> Config:
        return {"path": f"{MOUNTS['keys']}/{name}.json", "watched_directory": {"path": MOUNTS["keys"]}}

    return doors._replace(keys=source(KEYS), rates=source(RATES))


def chart_config(doors: Doors = OPEN) -> Config:
    """Return the configuration of the chart's Envoy.

    Args:
        doors: whom it lets in.
    """
    return bootstrap("0.0.0.0", 8001, 8000, Name(SERVERS), MOST, ADMIN, figures=8002, doors=doors)


def chart_files() -> dict[str, Any]:
    """Return the contents of the chart's files, by name; the chart puts them together as its values say."""

    def file(folder: str, name: str) -> Config:
        return {"filename": f"{MOUNTS[folder]}/{name}"}

    tls, clients = {"path": MOUNTS["tls"]}, {"path": MOUNTS["clients"]}
    return {
        "envoy.json": chart_config(),
        "envoy-keys.json": chart_config(with_keys(OPEN)),
        "sockets.json": {"tls": transport_socket(TLS), "clients": transport_socket(CLIENTS)},
        "certificate.json": certificate(file("tls", "tls.crt"), file("tls", "tls.key"), tls),
        "clients.json": authorities(file("clients", "ca.crt"), clients),
    }


def main(
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder to write to.")] = CHART / "files",
) -> None:
    """Write the configuration of Envoy in the Helm chart, from the same code as that of `triton-yolo serve`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in chart_files().items():
            write_whole(out / name, f"{json.dumps(content, indent=1)}\n".encode())
    except OSError as error:
        leave(COMMAND, f"cannot write {error.filename or out}: {error.strerror}")


if __name__ == "__main__":
    typer.run(main)
