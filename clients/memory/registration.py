"""Registration of shared memory with the server, the same over every protocol."""

from __future__ import annotations

from typing import Literal

from triton_yolo.clients.errors import DetectionError, ServerUnavailable
from triton_yolo.clients.protocols.base import Call, Json, Protocol

RegionKind = Literal["system", "cuda"]  # kinds of shared memory, as Triton names them
SERVICES: dict[RegionKind, str] = {"system": "SystemSharedMemory", "cuda": "CudaSharedMemory"}  # prefixes of RPCs
DEMANDS: dict[RegionKind, str] = {  # what the server must fulfil, for the message where it refuses the memory
    "system": "a server on this machine (containers: with the same ipc namespace and user) that allows shared memory "
    "of clients",
    "cuda": "a server that uses the same GPU (containers: with the host's pid namespace) and allows shared memory of "
    "clients",
}


def register(protocol: Protocol, kind: RegionKind, name: str, fields: Json) -> None:
    """Register shared memory with the server.

    Args:
        protocol: to the server.
        kind: kind of the memory.
        name: name that requests will use.
        fields: "byte_size", and "key" in /dev/shm, or "raw_handle" in base 64 and "device_id".

    Raises:
        DetectionError: the server refuses, in its words and with what to check.
    """
    body = {**fields, "raw_handle": {"b64": fields["raw_handle"]}} if "raw_handle" in fields else fields
    try:
        protocol.call(Call(f"{SERVICES[kind]}Register", {"name": name, **fields}, _path(kind, name, "register"), body))
    except ServerUnavailable:
        raise
    except DetectionError as error:
        raise DetectionError(f"{error}; memory '{kind}' needs {DEMANDS[kind]}") from None


def unregister(protocol: Protocol, kind: RegionKind, name: str) -> None:
    """Make the server forget shared memory; a name that it does not know is fine.

    Args:
        protocol: to the server.
        kind: kind of the memory.
        name: name under which it was registered.

    Raises:
        RegionInUse: a request still reads it.
    """
    protocol.call(Call(f"{SERVICES[kind]}Unregister", {"name": name}, _path(kind, name, "unregister"), {}))


def _path(kind: RegionKind, name: str, action: str) -> str:
    return f"v2/{kind}sharedmemory/region/{name}/{action}"
