"""Latencies over a link of a known bandwidth: a wire into a network namespace, shaped by the kernel (tc-tbf(8))."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from triton_yolo.server.process import Addresses, TritonServer, free_addresses

MBITS = (10, 100, 1000)
SERVER, CLIENT = "10.213.77.1", "10.213.77.2"
SECONDS = 120  # that the client may take


def can_shape() -> bool:
    """Return whether this may make network namespaces, and has the tools for it."""
    return os.geteuid() == 0 and all(map(shutil.which, ("ip", "tc")))


def measure(repository: Path) -> dict[str, Any]:
    """Return latencies of frames as pixels, JPEGs and changes, by the link's bandwidth in Mbit/s."""
    found = {}
    free = free_addresses()
    with _wire() as (namespace, ends):
        at = Addresses(SERVER, free.http, free.grpc, free.metrics)
        with TritonServer(repository, at, lambda line: None) as server:
            server.wait_until_ready()
            for mbits in MBITS:
                for place, device in ends:
                    shape = ["rate", f"{mbits}mbit", "burst", "64kb", "limit", "16mb"]
                    _run(*place, "tc", "qdisc", "replace", "dev", device, "root", "tbf", *shape)
                program = [sys.executable, "-m", "bench.tiles.link_client", f"{SERVER}:{at.grpc}", str(mbits)]
                found[str(mbits)] = json.loads(_run("ip", "netns", "exec", namespace, *program))
    return found


@contextlib.contextmanager
def _wire() -> Iterator[tuple[str, list[tuple[list[str], str]]]]:
    """Lay a wire into a namespace of its own; yields its name, and for each end how it is reached and its device."""
    namespace, here, there = (f"{name}-{os.getpid()}" for name in ("tiles", "th", "tt"))
    inside = ["ip", "netns", "exec", namespace]
    _run("ip", "netns", "add", namespace)
    try:
        _run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", namespace)
        _run("ip", "addr", "add", f"{SERVER}/30", "dev", here)
        _run("ip", "link", "set", here, "up")
        _run(*inside, "ip", "addr", "add", f"{CLIENT}/30", "dev", there)
        for device in (there, "lo"):
            _run(*inside, "ip", "link", "set", device, "up")
        yield namespace, [([], here), (inside, there)]
    finally:
        _run("ip", "netns", "del", namespace)  # the wire goes with it


def _run(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout
    except subprocess.CalledProcessError as error:
        raise BenchError(f"{' '.join(command)}: {error.stderr.strip().splitlines()[-1:]}") from None
