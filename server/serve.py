"""Command line: triton-yolo serve."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from triton_yolo.cli.exits import leave
from triton_yolo.clients.stream.addresses import collector
from triton_yolo.errors import TritonYoloError
from triton_yolo.repository import DEFAULT_REPOSITORY
from triton_yolo.server.errors import ServerError
from triton_yolo.server.fleet.access import AccessFiles
from triton_yolo.server.fleet.parts import Part, shares
from triton_yolo.server.gpu_selection import ALL, find_gpus
from triton_yolo.server.process import EXIT_SECONDS, Addresses, TritonServer
from triton_yolo.server.runtimes.base import Arithmetic, Device

if TYPE_CHECKING:
    from triton_yolo.server.fleet.fleet import Fleet

LOOK_SECONDS = 0.5  # between two looks at what several servers need


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
        typer.Option(
            metavar="N|UUID|all",
            help="The GPU to serve on, and no other; means --device gpu. all, or several separated by commas: one "
            "server for each, behind Envoy on the ports above.  [default: 0]",
        ),
    ] = None,
    servers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="So many servers on the CPU, which share its cores, behind Envoy on the ports above; one that dies is "
            "started again.  [default: one, without Envoy]",
        ),
    ] = None,
    arithmetic: Annotated[
        Arithmetic, typer.Option(help="What the network computes in; auto takes the fastest that is proved right here.")
    ] = "auto",
    backends: Annotated[
        Path | None, typer.Option(help="Folder with Triton's native backends (dali); models of these run natively.")
    ] = None,
    shared_memory: Annotated[
        bool | None,
        typer.Option(
            "--shared-memory/--no-shared-memory",
            help="Let clients here pass frames in shared memory.  [default: if --host is this machine alone]",
        ),
    ] = None,
    trace: Annotated[
        str,
        typer.Option(metavar="ENDPOINT", help="Collector for spans of traced requests: http://HOST:4318/v1/traces."),
    ] = "",
    tls_certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Encrypt with this certificate (PEM, with those that vouch for it)."),
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key (PEM).")] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Let in clients alone whose certificates one of these vouches for (PEM)."),
    ] = None,
    api_keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Let in clients alone that have a key: NAME KEY [REQUESTS/S] on each line."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show all that tritonserver logs.")] = False,
) -> None:
    """Serve the model repository with the real tritonserver, from pip packages alone, on the CPU or on a GPU.

    Ends on Ctrl-C or SIGTERM, after the requests in flight. With several servers, SIGUSR1 starts one after the other
    again while the others answer. Certificates and API keys are Envoy's, which stands before one server too then.
    """

    def log(line: str) -> None:
        if verbose or (ready and line.startswith("E")):
            typer.echo(line, err=True)

    def make(part: Part, at: Addresses, chosen: Arithmetic) -> TritonServer:
        return TritonServer(
            repository,
            at,
            log,
            where,
            backends,
            chosen,
            part.gpu.uuid if part.gpu else gpu or "0",
            part.cores,
            parts is not None or shared,  # several are reached through their launcher
            trace,
        )

    ready = False
    shared = _is_loopback(host) if shared_memory is None else shared_memory
    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: _interrupt(stop, received))
    try:
        addresses = Addresses(host, http_port, grpc_port, metrics_port)
        if trace:
            try:
                collector(trace)
            except ValueError as error:
                raise ServerError(f"--trace {error}") from None
        where = device or ("cpu" if gpu is None else "gpu")
        if where == "cpu" and gpu is not None:
            raise ServerError(f"--gpu {gpu} and --device cpu contradict each other")
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # numbers as nvidia-smi has them
        access = AccessFiles(tls_certificate, tls_key, tls_client_ca, api_keys)
        access.check(_is_loopback(host))
        parts = _parts(where, gpu, servers, bool(access))
        if parts is not None:
            from triton_yolo.server.fleet.fleet import Fleet  # with gRPC, which one server alone leaves to tritonserver

            with Fleet(parts, addresses, make, arithmetic, log, shared, access) as fleet, _stop_announced():
                renewals = _renewals()
                fleet.wait_until_ready()
                ready = True
                _announce_fleet(fleet, tls_certificate is not None)
                _keep(fleet, renewals)
        with make(Part(), addresses, arithmetic) as server, _stop_announced():
            server.wait_until_ready()
            ready = True
            _announce(server, addresses, host, False)
            if server.gpu:
                typer.echo(f"  GPU      {server.gpu.name}, {server.gpu.uuid}")
            server.wait()
    except KeyboardInterrupt:
        raise typer.Exit(128 + stop[0] if stop[0] != signal.SIGTERM else 0) from None
    except TritonYoloError as error:
        leave("triton-yolo serve", str(error))


def _is_loopback(host: str) -> bool:
    """Return whether an address is of this machine alone, as far as it can be read."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parts(device: Device, gpu: str | None, servers: int | None, guarded: bool) -> list[Part] | None:
    """Return what each server behind Envoy has to itself; None for one server without it.

    Args:
        device: where the network runs.
        gpu: value of --gpu.
        servers: value of --servers.
        guarded: whether not everybody is let in, which is Envoy's part.
    """
    if device == "cpu":
        return shares(servers or 1) if servers is not None or guarded else None
    if servers is not None:
        raise ServerError("--servers is for the CPU: --gpu all starts one server for each GPU, --gpu 0,1 for these two")
    gpu = gpu or "0"
    if gpu != ALL and "," not in gpu and not guarded:
        return None
    return [Part(gpu=one) for one in find_gpus(gpu)]


def _announce(server: TritonServer, at: Addresses, metrics_host: str, tls: bool) -> None:
    """Say what is served, where, and what it computes in."""
    typer.echo(f"Serving {', '.join(server.models)} from {server.repository}")
    typer.echo(f"  gRPC     {'grpcs://' if tls else ''}{at.host}:{at.grpc}")
    typer.echo(f"  HTTP     http{'s' if tls else ''}://{at.host}:{at.http}")
    typer.echo(f"  metrics  http://{metrics_host}:{at.metrics}/metrics")
    for model, proved in server.proved().items():
        typer.echo(f"  {model:8} {proved.line}")


def _announce_fleet(fleet: Fleet, tls: bool) -> None:
    """Say the same of several servers, and where each of them is."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    first = fleet.members[0].server
    if first is not None:
        _announce(first, fleet.addresses, fleet.metrics_host, tls)
    for member in fleet.members:
        gpu = member.server.gpu if member.server else None
        at = f"gRPC {member.grpc}, HTTP http://{member.addresses.host}:{member.addresses.http}"
        typer.echo(f"  server {member.name} {at}{f', {gpu.name}, {gpu.uuid}' if gpu else ''}")


def _renewals() -> list[int]:
    """Return a list that gets an entry with each SIGUSR1."""
    asked: list[int] = []
    signal.signal(signal.SIGUSR1, lambda received, _: asked.append(received))
    return asked


def _keep(fleet: Fleet, renewals: list[int]) -> NoReturn:
    """Look after several servers until a signal ends that."""
    while True:
        fleet.watch()
        if renewals:
            renewals.clear()
            fleet.renew()
        time.sleep(LOOK_SECONDS)


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
