"""Command line: python -m bench.fleet, several servers behind Envoy against one alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.__main__ import HEIGHT, WIDTH
from bench.origin import measured_on
from bench.steady import steady
from triton_yolo.boards import draw_board
from triton_yolo.cli.exits import leave
from triton_yolo.clients.detector import Detector
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole
from triton_yolo.repository import DEFAULT_REPOSITORY
from triton_yolo.server.fleet.fleet import Fleet
from triton_yolo.server.fleet.parts import Part, shares
from triton_yolo.server.gpu_selection import ALL, find_gpus
from triton_yolo.server.process import Addresses, TritonServer, free_addresses
from triton_yolo.server.runtimes.base import Arithmetic, Device

CAMERAS = 8
IN_FLIGHT = 4  # requests of 8 frames, for each server
RESULTS = Path(__file__).parent / "results"


def main(
    device: Annotated[Device, typer.Option(help="All GPUs, or servers on the CPU.")] = "gpu",
    servers: Annotated[int, typer.Option(min=1, help="On the CPU: how many; they share its cores.")] = 2,
    repository: Annotated[Path, typer.Option(help="Model repository to measure.")] = DEFAULT_REPOSITORY,
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = RESULTS,
    seconds: Annotated[float, typer.Option(min=1, help="Length of one measurement.")] = 20,
) -> None:
    """Measure frames in system shared memory: one server asked directly, the same behind Envoy, and all behind Envoy.

    Leaves fleet-gpu.json or fleet-cpu.json.
    """
    try:
        parts = [Part(gpu=gpu) for gpu in find_gpus(ALL)] if device == "gpu" else shares(servers)
        result = {
            "measured_on": measured_on(device),
            "frames": {"in_a_request": CAMERAS, "height": HEIGHT, "width": WIDTH},
            **measure(parts, repository, device, seconds),
        }
    except TritonYoloError as error:
        leave("python -m bench.fleet", str(error))
    text = json.dumps(result, indent=1)
    write_whole(out / f"fleet-{device}.json", f"{text}\n".encode())
    typer.echo(text)


def measure(parts: Sequence[Part], repository: Path, device: Device, seconds: float) -> dict[str, Any]:
    """Return figures of one server, directly and behind Envoy, and of all.

    Args:
        parts: what each server has to itself.
        repository: to serve.
        device: where they compute.
        seconds: of one measurement.
    """
    with fleet(parts[:1], repository, device) as one:
        result = {
            "one_directly": figures(one.members[0].grpc, 1, seconds),
            "one_behind_envoy": figures(f"127.0.0.1:{one.addresses.grpc}", 1, seconds),
        }
    with fleet(parts, repository, device) as every:
        result["all_behind_envoy"] = figures(f"127.0.0.1:{every.addresses.grpc}", len(parts), seconds)
    one_rate, all_rate = (result[name]["load"]["items_per_second"] for name in ("one_behind_envoy", "all_behind_envoy"))
    return {"servers": len(parts), **result, "times_as_fast": all_rate / one_rate}


@contextmanager
def fleet(parts: Sequence[Part], repository: Path, device: Device) -> Iterator[Fleet]:
    """Servers behind Envoy, ready."""

    def make(part: Part, at: Addresses, arithmetic: Arithmetic) -> TritonServer:
        gpu = part.gpu.uuid if part.gpu else "0"
        return TritonServer(repository, at, lambda line: None, device, arithmetic=arithmetic, gpu=gpu, cores=part.cores)

    with Fleet(parts, free_addresses(), make) as running:
        running.wait_until_ready()
        yield running


def figures(url: str, servers: int, seconds: float) -> dict[str, Any]:
    """Return the latency of a request alone, and the throughput with some in flight for each server."""
    boards = np.stack([draw_board(seed, WIDTH, HEIGHT, "photo").image for seed in range(CAMERAS)])
    in_flight = IN_FLIGHT * servers
    with ExitStack() as stack:
        detector = stack.enter_context(Detector(url, memory="system"))
        frames = [stack.enter_context(detector.frames(*boards.shape[:3])) for _ in range(in_flight)]
        for region in frames:
            region.fill(boards)

        def work(number: int) -> int:
            return len(detector.detect_frames(frames[number]))

        alone, load = steady(work, 1, seconds), steady(work, in_flight, seconds)
    return {"alone": asdict(alone), "requests_in_flight": in_flight, "load": asdict(load)}


if __name__ == "__main__":
    typer.run(main)
