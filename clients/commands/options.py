"""Options that the commands share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from triton_yolo.cli.exits import leave
from triton_yolo.clients.access import Access
from triton_yolo.clients.base import Transport
from triton_yolo.clients.base import without_transport as new_arguments
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.memory.pool import Memory

URL = "127.0.0.1:8001"

Url = Annotated[
    str,
    typer.Option(
        metavar="URL", help="HOST:PORT for gRPC, http://HOST:PORT for HTTP; grpcs:// and https:// in front with TLS."
    ),
]
TlsCa = Annotated[
    Path | None,
    typer.Option(metavar="FILE", envvar="TRITON_YOLO_TLS_CA", help="Certificates that may vouch for the server."),
]
TlsCertificate = Annotated[
    Path | None,
    typer.Option(metavar="FILE", envvar="TRITON_YOLO_TLS_CERTIFICATE", help="This client's own certificate."),
]
TlsKey = Annotated[Path | None, typer.Option(metavar="FILE", envvar="TRITON_YOLO_TLS_KEY", help="Its private key.")]
ApiKey = Annotated[
    Path | None,
    typer.Option(metavar="FILE", envvar="TRITON_YOLO_API_KEY", help="File with this client's API key: NAME KEY."),
]
MemoryOption = Annotated[
    Memory,
    typer.Option(
        help="Where frames lie: in the requests, in shared memory, or on the server's GPU. BMP, TIFF and WebP "
        "files become frames; JPEG and PNG files are sent as they are."
    ),
]
TransportOption = Annotated[Transport | None, typer.Option(hidden=True)]


def threshold_option(words: str) -> Any:
    """Return an option for a number from 0 to 1.

    Args:
        words: for --help.
    """
    return typer.Option(metavar="NUMBER", min=0, max=1, help=words)


def connected(command: str, url: str, memory: Memory, access: Callable[[], Access]) -> Detector:
    """Return the client that the options ask for.

    Args:
        command: what the user called, such as "triton-yolo detect".
        url: value of --url.
        memory: value of --memory.
        access: returns what the client shows.
    """
    try:
        return Detector(url, memory=memory, access=access())
    except DetectionError as error:
        leave(command, str(error))


def without_transport(command: str, transport: Transport | None, url: str, memory: Memory) -> tuple[str, Memory]:
    """Return the URL and the memory that the deprecated option --transport stands for, and say so on stderr.

    Args:
        command: what the user called, such as "triton-yolo detect".
        transport: value of the option; None where it was not given.
        url: value of --url.
        memory: value of --memory.
    """
    if transport is None:
        return url, memory
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            url, memory = new_arguments(transport, url, memory)
    except DetectionError as error:
        leave(command, str(error))
    typer.echo(f"{command}: --transport is deprecated: use --url {url} --memory {memory}", err=True)
    return url, memory
