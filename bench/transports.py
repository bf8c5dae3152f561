"""Command line: python -m bench.transports, one request with 8 frames over each transport."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.counting_proxy import CountingProxy
from bench.origin import measured_on
from triton_yolo.boards import draw_board
from triton_yolo.cli.exits import leave
from triton_yolo.cli.progress import tracked
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.memory.frames import Frames
from triton_yolo.clients.memory.pool import Memory
from triton_yolo.clients.request import Pixels
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole
from triton_yolo.server.process import Addresses, TritonServer, free_addresses

ROOT = Path(__file__).resolve().parents[1]
COUNT, HEIGHT, WIDTH = 8, 960, 1280  # one frame of each of 8 cameras
KINDS: dict[str, tuple[str, Memory]] = {  # protocol and memory
    "grpc": ("grpc", "plain"),
    "http": ("http", "plain"),
    "system": ("grpc", "system"),
    "cuda": ("grpc", "cuda"),
}
WARM_UP = 3  # requests of each kind that are not measured


def main(
    repository: Annotated[Path, typer.Option(help="Model repository to serve.")] = ROOT / "model_repository",
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = ROOT / "bench" / "results",
    rounds: Annotated[int, typer.Option(min=1, help="One request of each kind, in turn, this many times.")] = 30,
) -> None:
    """Measure how long a request with 8 frames takes with each transport, and what it carries.

    Whole requests, with the computing, one at a time: the frames lie where the transport wants them, except in
    "system, from an array". Leaves transports-cpu.json, or transports-gpu.json where there is a GPU for "cuda".
    """
    try:
        result = measure(repository, rounds)
    except TritonYoloError as error:
        leave("python -m bench.transports", str(error))
    text = json.dumps(result, indent=2)
    write_whole(out / f"transports-{'gpu' if 'cuda' in result['transports'] else 'cpu'}.json", f"{text}\n".encode())
    typer.echo(text)


def measure(repository: Path, rounds: int) -> dict[str, Any]:
    """Run everything; the result is what the file holds."""
    batch = np.stack([draw_board(seed, WIDTH, HEIGHT, "photo").image for seed in range(COUNT)])
    with TritonServer(repository, free_addresses(), lambda line: None) as server, ExitStack() as stack:
        server.wait_until_ready()
        senders = dict(_senders(server.addresses, batch, stack))
        times: dict[str, list[float]] = {name: [] for name in senders}
        for number in tracked(range(-WARM_UP, rounds), rounds + WARM_UP, "requests"):
            for name, (detector, frames) in senders.items():
                begin = time.perf_counter()
                detector.detect_frames(frames)
                if number >= 0:
                    times[name].append(1000 * (time.perf_counter() - begin))
        carried: dict[str, int] = {kind: _carried(server.addresses, kind, batch) for kind in _kinds()}
    return {
        "measured_on": measured_on(),
        "frames": {"count": COUNT, "height": HEIGHT, "width": WIDTH, "bytes": batch.nbytes},
        "rounds": rounds,
        "transports": {
            name: {
                "median_ms": statistics.median(taken),
                "ratio_to_grpc": statistics.median(a / b for a, b in zip(taken, times["grpc"], strict=True)),
                "bytes_over_the_connection": carried[name.partition(",")[0]],
            }
            for name, taken in times.items()
        },
    }


def _kinds() -> list[str]:
    """Return the kinds that this machine can run."""
    try:
        Detector(memory="cuda").close()
    except DetectionError:
        return [kind for kind in KINDS if kind != "cuda"]
    return list(KINDS)


def _detector(at: Addresses, kind: str) -> Detector:
    protocol, memory = KINDS[kind]
    url = f"http://{at.host}:{at.http}" if protocol == "http" else f"{at.host}:{at.grpc}"
    return Detector(url, memory=memory)


def _senders(at: Addresses, batch: Pixels, stack: ExitStack) -> Iterator[tuple[str, tuple[Detector, Frames | Pixels]]]:
    """Return names, detectors and what they are to send."""
    for kind in _kinds():
        detector = stack.enter_context(_detector(at, kind))
        frames = detector.frames(COUNT, HEIGHT, WIDTH)
        frames.fill(batch)
        yield kind, (detector, frames)
        if kind == "system":
            yield f"{kind}, from an array", (detector, batch)


def _carried(at: Addresses, kind: str, batch: Pixels) -> int:
    """Return bytes of one request and its answer, with the protocol's own, beside shared memory."""
    with CountingProxy(at.host, at.http if kind == "http" else at.grpc) as proxy:
        there = Addresses(proxy.host, http=proxy.port, grpc=proxy.port)
        with _detector(there, kind) as detector, detector.frames(*batch.shape[:3]) as frames:
            frames.fill(batch)
            detector.detect_frames(frames)  # asks for the labels too
            before = proxy.bytes
            detector.detect_frames(frames)
            return proxy.bytes - before


if __name__ == "__main__":
    typer.run(main)
