"""The load of all servers: ``python -m bench.peers.load``, a process of its own, so that no server's time has its own.

It reads what it is to do from stdin, and writes what it saw to stdout, both JSON. A thread for each request in flight
does no more than send bytes and read the answer's: over HTTP each has a connection of its own, over gRPC they share the
project's client.
"""

from __future__ import annotations

import http.client
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from bench.errors import BenchError
from bench.memory import resident_bytes
from bench.peers.programs import in_own_process
from bench.processor_time import idle_and_all, processor_seconds

STARTING = 1.0  # seconds of each load that are not counted
TIMEOUT = 60.0  # seconds of a request

Send = Callable[[int], None]  # sends the request with this number, and reads its answer


@dataclass(frozen=True)
class Job:
    """What a load is.

    Attributes:
        kind: "http": bodies by POST. "grpc": JPEGs to ``detect``. "frames": raw frames to ``detect_frames``, in system
            shared memory.
        address: HOST:PORT.
        files: what is sent, in turn.
        pid: the server's first process.
        levels: numbers of requests in flight, one after the other.
        seconds: that are counted at each level.
        path: of an HTTP request.
        headers: of each file's HTTP request.
        shape: height and width of frames.
    """

    kind: Literal["http", "grpc", "frames"]
    address: str
    files: Sequence[str]
    pid: int
    levels: Sequence[int]
    seconds: float
    path: str = "/"
    headers: Sequence[Mapping[str, str]] = field(default_factory=list)
    shape: Sequence[int] = (0, 0)


def loaded(job: Job) -> dict[int, dict[str, float]]:
    """Run a load in a process of its own; return what it saw, by requests in flight.

    Raises:
        BenchError: a request failed; with what the process said.
    """
    seen = in_own_process("bench.peers.load", job, f"the load of {job.address}")
    return {int(level): figures for level, figures in seen.items()}


def run(job: Job) -> dict[int, dict[str, float]]:
    """Run a load in this process."""
    return {level: _level(job, level) for level in job.levels}


def _level(job: Job, in_flight: int) -> dict[str, float]:
    with KINDS[job.kind](job, in_flight) as senders:
        begin = time.perf_counter() + STARTING
        end = begin + job.seconds
        done: list[tuple[float, float]] = []  # when a request ended, and how long it took
        failures: list[BaseException] = []
        numbers = itertools.count()

        def work(send: Send) -> None:
            try:
                while (start := time.perf_counter()) < end and not failures:
                    send(next(numbers) % len(job.files))
                    now = time.perf_counter()
                    done.append((now, now - start))
            except BaseException as error:  # of a thread: raised again below
                failures.append(error)

        threads = [threading.Thread(target=work, args=(send,)) for send in senders]
        for thread in threads:
            thread.start()
        first = _spent(job.pid, begin)
        last = _spent(job.pid, end)
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    taken = [1e3 * seconds for at, seconds in done if begin <= at <= end]
    if not taken:
        raise BenchError(f"no request ended within {job.seconds:g} s: measure longer")
    server, own, idle, ticks = (after - before for before, after in zip(first, last, strict=True))
    p50, p99 = np.percentile(taken, (50, 99))
    return {
        "images_per_second": round(len(taken) / job.seconds, 2),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "server_cpu_ms_per_image": round(1e3 * server / len(taken), 2),
        "load_cpu_ms_per_image": round(1e3 * own / len(taken), 2),
        "idle_share": round(idle / ticks, 3),
        "resident_bytes": resident_bytes(job.pid),
    }


def _spent(pid: int, at: float) -> tuple[float, float, int, int]:
    """Wait for a moment, and return the processor time of the server and of this process, and of the cores."""
    time.sleep(max(0.0, at - time.perf_counter()))
    return processor_seconds(pid), time.process_time(), *idle_and_all()


@contextmanager
def _http(job: Job, count: int) -> Iterator[list[Send]]:
    """Open a connection for each thread."""
    bodies = [Path(file).read_bytes() for file in job.files]
    connections = [http.client.HTTPConnection(job.address, timeout=TIMEOUT) for _ in range(count)]

    def send(connection: http.client.HTTPConnection, number: int) -> None:
        connection.request("POST", job.path, bodies[number], dict(job.headers[number]))
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200 or not content:
            raise BenchError(f"the server answered with status {answer.status}: {content[:200]!r}")

    try:
        yield [partial(send, connection) for connection in connections]
    finally:
        for connection in connections:
            connection.close()


@contextmanager
def _grpc(job: Job, count: int) -> Iterator[list[Send]]:
    from triton_yolo.clients.detector import Detector

    images = [Path(file).read_bytes() for file in job.files]

    with Detector(job.address, timeout=TIMEOUT) as detector:

        def send(number: int) -> None:
            detector.detect(images[number])

        yield [send] * count


@contextmanager
def _frames(job: Job, count: int) -> Iterator[list[Send]]:
    """Put each frame into memory of its own once, as a camera's driver does, and send where it lies."""
    from triton_yolo.clients.detector import Detector

    with Detector(job.address, timeout=TIMEOUT, memory="system") as detector, ExitStack() as stack:
        frames = [stack.enter_context(detector.frames(1, *job.shape)) for _ in job.files]
        for one, file in zip(frames, job.files, strict=True):
            one.fill(np.fromfile(file, np.uint8).reshape(1, *job.shape, 3))

        def send(number: int) -> None:
            detector.detect_frames(frames[number])

        yield [send] * count


KINDS: dict[str, Callable[[Job, int], AbstractContextManager[list[Send]]]] = {
    "http": _http,
    "grpc": _grpc,
    "frames": _frames,
}


def main() -> None:
    """Run the load that stdin tells."""
    try:
        seen = run(Job(**json.load(sys.stdin)))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
