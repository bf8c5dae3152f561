"""What a server holds while it runs: memory, descriptors, threads, shared memory."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bench.memory import descendants, resident_bytes
from triton_yolo.server.limits import SHARED_MEMORY
from triton_yolo.server.process import TritonServer

MEBIBYTE = 1 << 20
START = 6  # a sixth of the samples is the start, which is not counted


def open_files(pid: int) -> int:
    """Return the number of open files of a process and all below it."""
    return _entries(pid, "fd")


def held(server: TritonServer) -> dict[str, int]:
    """Return what all processes of a server hold now.

    Returns:
        resident_bytes, as ``bench.memory.resident_bytes`` counts them; open_files; threads; shared_memory_bytes, of the
        Python backend's own regions; with a GPU, gpu_memory_bytes, of all that runs there.
    """
    pid = server.running.pid
    found = {
        "resident_bytes": resident_bytes(pid),
        "open_files": open_files(pid),
        "threads": _entries(pid, "task"),
        "shared_memory_bytes": _occupied(SHARED_MEMORY.glob(f"{server.name}*")),
    }
    if server.gpu is not None:
        query = ["nvidia-smi", "-i", server.gpu.uuid, "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        found["gpu_memory_bytes"] = MEBIBYTE * int(subprocess.run(query, capture_output=True, check=True).stdout)
    return found


def last_to_first_quarter(samples: Sequence[Mapping[str, float]], keys: Iterable[str]) -> dict[str, float]:
    """Return for each key the median of the last quarter of some samples to that of the first, without the start."""
    steady = samples[len(samples) // START :]
    quarter = max(1, len(steady) // 4)
    return {
        key: statistics.median(one[key] for one in steady[-quarter:])
        / statistics.median(one[key] for one in steady[:quarter])
        for key in keys
    }


def _entries(pid: int, folder: str) -> int:
    """Return the number of entries of a folder in /proc, of a process and all below it."""
    total = 0
    for process in (pid, *descendants(pid)):
        with suppress(FileNotFoundError, ProcessLookupError):  # has ended meanwhile
            total += len(list(Path(f"/proc/{process}/{folder}").iterdir()))
    return total


def _occupied(files: Iterable[Path]) -> int:
    """Return the bytes that files take in memory."""
    total = 0
    for file in files:
        with suppress(FileNotFoundError):
            total += 512 * file.stat().st_blocks
    return total
