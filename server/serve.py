"""Command line: triton-yolo serve."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from triton_yolo.cli.exits import leave
from triton_yolo.errors import TritonYoloError
from triton_yolo.repository import DEFAULT_REPOSITORY
from triton_yolo.server.errors import ServerError
from triton_yolo.server.process import EXIT_SECONDS, Addresses, TritonServer
from triton_yolo.server.runtimes.base import Arithmetic, Device


def main(
    repository: Annotated[Path, typer.Option(help="Model repository to serve.")] = DEFAULT_REPOSITORY,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(min=1, max=65535, help="Port for HTTP and REST.")] = 8000,
    grpc_port: Annotated[int, typer.Option(min=1, max=65535, help="Port for gRPC.")] = 8001,
    metrics_port: Annotated[int, typer.Option(min=1, max=65535, help="Port for Prometheus metrics.")] = 8002,
    device: Annotated[
        Device | None, typer.Option(help="Where images are decoded and the network runs.  [default: cpu]")
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(metavar="N|UUID", help="The GPU to serve on, and no other; means --device gpu.  [default: 0]"),
    ] = None,
    arithmetic: Annotated[
        Arithmetic, typer.Option(help="What the network computes in; auto takes the fastest that is proved right here.")
    ] = "auto",
    backends: Annotated[
        Path | None, typer.Option(help="Folder with Triton's native backends (dali); models of these run natively.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show all that tritonserver logs.")] = False,
) -> None:
    """Serve the model repository with the real tritonserver, from pip packages alone, on the CPU or on a GPU.

    Ends on Ctrl-C or SIGTERM, after the requests in flight.
    """

    def log(line: str) -> None:
        if verbose or (ready and line.startswith("E")):
            typer.echo(line, err=True)

    ready = False
    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: _interrupt(stop, received))
    try:
        addresses = Addresses(host, http_port, grpc_port, metrics_port)
        where = device or ("cpu" if gpu is None else "gpu")
        if where == "cpu" and gpu is not None:
            raise ServerError(f"--gpu {gpu} and --device cpu contradict each other")
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # numbers as nvidia-smi has them
        with (
            TritonServer(repository, addresses, log, where, backends, arithmetic, gpu or "0") as server,
            _stop_announced(),
        ):
            server.wait_until_ready()
            ready = True
            typer.echo(f"Serving {', '.join(server.models)} from {server.repository}")
            typer.echo(f"  gRPC     {host}:{grpc_port}")
            typer.echo(f"  HTTP     http://{host}:{http_port}")
            typer.echo(f"  metrics  http://{host}:{metrics_port}/metrics")
            if server.gpu:
                typer.echo(f"  GPU      {server.gpu.name}, {server.gpu.uuid}")
            for model, proved in server.proved().items():
                typer.echo(f"  {model:8} {proved.line}")
            server.wait()
    except KeyboardInterrupt:
        raise typer.Exit(128 + stop[0] if stop[0] != signal.SIGTERM else 0) from None
    except TritonYoloError as error:
        leave("triton-yolo serve", str(error))


@contextmanager
def _stop_announced() -> Iterator[None]:
    """Say after a signal what the wait is for."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"Stopping: requests in flight may take up to {EXIT_SECONDS} s ...", err=True)
        raise


def _interrupt(stop: list[int], number: int) -> None:
    """Leave the wait once; further signals do not cut the clean-up short."""
    if not stop:
        stop.append(number)
        raise KeyboardInterrupt
