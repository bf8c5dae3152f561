"""Copies in memory, counted: a library before memcpy(3) in the server's processes and in the client's."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import BenchError
from bench.memory import descendants
from triton_yolo.server.process import TritonServer

SOURCE = Path(__file__).with_name("copies.c")
ROW = np.dtype([("key", "<u8"), ("size", "<u8"), ("count", "<u8"), ("nanoseconds", "<u8"), ("library", "S96")])
CHUNK = 65_536  # bytes: what is smaller is part of something, such as what came from a socket at a time


@dataclass(frozen=True)
class Copies:
    """Copies of one size, or of many small ones together.

    Attributes:
        process: that makes them: "client", "tritonserver" or the name of a Python model.
        library: that calls for them.
        size: bytes of each; 0 for all that are smaller than CHUNK together.
        count: how many.
        nbytes: of all.
        microseconds: that all took.
    """

    process: str
    library: str
    size: int
    count: int
    nbytes: int
    microseconds: float


@contextmanager
def counting(folder: Path) -> Iterator[None]:
    """Let processes that are started within count their copies.

    Args:
        folder: for what they count, and the library.

    Raises:
        BenchError: there is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise BenchError("counting copies needs a C compiler: apt-get install gcc")
    library = folder / "copies.so"
    if not library.exists():
        command = [compiler, "-O2", "-fno-builtin", "-shared", "-fPIC", str(SOURCE), "-o", str(library), "-ldl"]
        subprocess.run(command, check=True)
    counts = folder / "counts"
    counts.mkdir(exist_ok=True)
    added = {"LD_PRELOAD": str(library), "COPIES_FOLDER": str(counts)}
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def server_processes(server: TritonServer) -> dict[str, str]:
    """Return the names of a server's processes by PID, as JSON has them: "tritonserver", and the Python models."""
    models = [path.parent.name for path in server.repository.glob("*/config.pbtxt")]
    found = {str(server.running.pid): "tritonserver"}
    for child in descendants(server.running.pid):
        words = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace").split("\0")
        name = next((model for model in models if any(f"/{model}/" in word for word in words)), None)
        if name:
            found[str(child)] = name
    return found


def look(folder: Path, processes: Mapping[str, str]) -> dict[tuple[str, str, int], tuple[int, float]]:
    """Return what processes have counted so far: copies and microseconds, by process, library and size.

    Args:
        folder: of ``counting``.
        processes: their names by PID.
    """
    found: dict[tuple[str, str, int], tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for pid, name in processes.items():
        path = folder / "counts" / pid
        if not path.exists():
            continue
        rows = np.fromfile(path, ROW)
        for row in rows[rows["count"] > 0]:
            key = (name, Path(row["library"].decode(errors="replace")).name, int(row["size"]))
            count, microseconds = found[key]
            found[key] = (count + int(row["count"]), microseconds + int(row["nanoseconds"]) / 1e3)
    return dict(found)


def between(
    before: Mapping[tuple[str, str, int], tuple[int, float]], after: Mapping[tuple[str, str, int], tuple[int, float]]
) -> list[Copies]:
    """Return the copies that were made between two looks, the largest first; small ones of a library are together."""
    merged: dict[tuple[str, str, int], list[float]] = defaultdict(lambda: [0, 0, 0.0])
    for (process, library, size), (count, microseconds) in after.items():
        old = before.get((process, library, size), (0, 0.0))
        if count == old[0]:
            continue
        together = merged[process, library, size if size >= CHUNK else 0]
        together[0] += count - old[0]
        together[1] += (count - old[0]) * size
        together[2] += microseconds - old[1]
    found = [Copies(*key, int(count), int(nbytes), took) for key, (count, nbytes, took) in merged.items()]
    return sorted(found, key=lambda one: -one.nbytes)
