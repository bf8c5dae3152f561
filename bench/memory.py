"""Memory of the server over many requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from triton_yolo.clients.detector import Detector
from triton_yolo.server.process import children

KINDS = ("Pss_Anon:", "Pss_Shmem:")


def resident_bytes(pid: int) -> int:
    """Return memory that a process and all of its descendants hold; what they share counts once (Pss of proc(5)).

    Pages of files, such as libraries, are left out: they can be dropped at any time, and how many of them count here
    depends on who else has the same libraries open.
    """
    total = 0
    for process in (pid, *descendants(pid)):
        with suppress(FileNotFoundError, ProcessLookupError):  # has ended meanwhile
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(KINDS))
    return total


def descendants(pid: int) -> Iterator[int]:
    """Return every process below ``pid``."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def growth(pid: int, url: str, images: Sequence[bytes], counts: Sequence[int]) -> dict[int, int]:
    """Send requests, and look at the server's memory after some of them.

    Args:
        pid: of the tritonserver.
        url: HOST:PORT of its gRPC endpoint.
        images: encoded images, sent in turn.
        counts: numbers of requests after which to look, rising.

    Returns:
        resident bytes by number of requests.
    """
    seen, sent = {}, 0
    with Detector(url) as detector:
        for count in counts:
            for _ in detector.detect_many((images[n % len(images)] for n in range(sent, count)), concurrency=4):
                pass
            sent = count
            seen[count] = resident_bytes(pid)
    return seen
