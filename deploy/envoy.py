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
from triton_yolo.server.fleet.envoy_config import OPEN, bootstrap

COMMAND = "python -m deploy.envoy"
DEPLOY = Path(__file__).resolve().parent
CHART = DEPLOY / "helm" / "triton-yolo"
COMPOSE = DEPLOY / "proxy" / "envoy.json"
SERVERS = "servers.triton-yolo.internal"  # the chart puts the name of its headless service here
SERVICE = "servers"  # of docker-compose.yml
MOST = 16  # servers, for the bound on requests in flight
ADMIN = {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}  # in the pod alone
MOUNTS = {"config": "/etc/envoy", "tls": "/etc/envoy-tls", "clients": "/etc/envoy-clients", "keys": "/etc/envoy-keys"}
TLS = OPEN._replace(certificate={"path": f"{MOUNTS['config']}/certificate.json"})
CLIENTS = TLS._replace(clients={"path": f"{MOUNTS['config']}/clients.json"})


def with_keys(doors: Doors) -> Doors:
    """Return the same doors for clients alone that have a key of the secret."""

    def source(name: str) -> Config:
        return {"path": f"{MOUNTS['keys']}/{name}.json", "watched_directory": {"path": MOUNTS["keys"]}}

    return doors._replace(keys=source(KEYS), rates=source(RATES))


def container_config(servers: str = SERVERS, doors: Doors = OPEN) -> Config:
    """Return the configuration of an Envoy in a container.

    Args:
        servers: name under which a name server knows all servers.
        doors: whom it lets in.
    """
    return bootstrap("0.0.0.0", 8001, 8000, Name(servers), MOST, ADMIN, figures=8002, doors=doors)


def chart_files() -> dict[str, Any]:
    """Return the contents of the chart's files, by name; the chart puts them together as its values say."""

    def file(folder: str, name: str) -> Config:
        return {"filename": f"{MOUNTS[folder]}/{name}"}

    tls, clients = {"path": MOUNTS["tls"]}, {"path": MOUNTS["clients"]}
    return {
        "envoy.json": container_config(),
        "envoy-keys.json": container_config(doors=with_keys(OPEN)),
        "sockets.json": {"tls": transport_socket(TLS), "clients": transport_socket(CLIENTS)},
        "certificate.json": certificate(file("tls", "tls.crt"), file("tls", "tls.key"), tls),
        "clients.json": authorities(file("clients", "ca.crt"), clients),
    }


def main(
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder to write to, in place of deploy/.")] = DEPLOY,
) -> None:
    """Write Envoy's configurations for the Helm chart and for Compose, from the same code as `triton-yolo serve`'s."""
    files = {CHART / "files" / name: content for name, content in chart_files().items()}
    files[COMPOSE] = container_config(SERVICE)
    try:
        for path, content in files.items():
            target = out / path.relative_to(DEPLOY)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, f"{json.dumps(content, indent=1)}\n".encode())
    except OSError as error:
        leave(COMMAND, f"cannot write {error.filename or out}: {error.strerror}")


if __name__ == "__main__":
    typer.run(main)
