"""What a server is made of, seen from outside: its processes, their memory, its files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import psutil

from bench.memory import resident_bytes
from triton_yolo.server.limits import SHARED_MEMORY
from triton_yolo.server.process import PREFIX, TritonServer

STUB = "triton_python_backend_stub"


def stubs(pid: int) -> list[psutil.Process]:
    """The Python backend's processes under a process."""
    return [p for p in psutil.Process(pid).children(recursive=True) if p.cmdline() and p.cmdline()[0].endswith(STUB)]


def whole(server: TritonServer) -> list[psutil.Process]:
    """tritonserver and everything that it started."""
    triton = psutil.Process(server.running.pid)
    return [triton, *triton.children(recursive=True)]


def resident(server: TritonServer) -> int:
    """Bytes of memory that the server and its stubs hold."""
    return resident_bytes(server.running.pid)


def descriptors(server: TritonServer) -> int:
    """Open files of the server and its stubs."""
    return sum(process.num_fds() for process in whole(server))


def remains(owner: int) -> list[Path]:
    """Folders and shared memory of the servers that a process started."""
    folders = (Path(tempfile.gettempdir()), SHARED_MEMORY)
    return [path for folder in folders for path in folder.glob(f"{PREFIX}{owner}-*")]
