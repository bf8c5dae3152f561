"""Command line: python -m bench.pixel_formats, one request with 8 frames in each pixel format."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.counting_proxy import CountingProxy
from bench.origin import measured_on
from bench.processor_time import processor_seconds
from triton_yolo.boards import draw_board
from triton_yolo.boards.sensor import as_sensor
from triton_yolo.cli.exits import leave
from triton_yolo.cli.progress import tracked
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.pixel_formats import PIXEL_FORMATS, PixelFormatName
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole
from triton_yolo.server.process import Addresses, TritonServer, free_addresses

ROOT = Path(__file__).resolve().parents[1]
COUNT, HEIGHT, WIDTH = 8, 960, 1280  # one frame of each of 8 cameras
FORMATS: tuple[PixelFormatName, ...] = ("rgb", "bayer_rggb", "nv12", "yuyv")  # the four patterns cost the same
WARM_UP = 3  # requests of each format that are not measured


def main(
    repository: Annotated[Path, typer.Option(help="Model repository to serve.")] = ROOT / "model_repository",
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = ROOT / "bench" / "results",
    rounds: Annotated[int, typer.Option(min=1, help="One request of each format, in turn, this many times.")] = 30,
) -> None:
    """Measure what a request with 8 frames costs in each pixel format: bytes, and seconds of the processor.

    The frames go over gRPC, to a server on the CPU. Leaves pixel-formats-cpu.json.
    """
    try:
        result = measure(repository, rounds)
    except TritonYoloError as error:
        leave("python -m bench.pixel_formats", str(error))
    text = json.dumps(result, indent=2)
    write_whole(out / "pixel-formats-cpu.json", f"{text}\n".encode())
    typer.echo(text)


def measure(repository: Path, rounds: int) -> dict[str, Any]:
    """Run everything; the result is what the file holds."""
    boards = [draw_board(seed, WIDTH, HEIGHT, "photo").image for seed in range(COUNT)]
    batches = {name: np.stack([as_sensor(board, name) for board in boards]) for name in FORMATS}
    spent: dict[PixelFormatName, list[tuple[float, float, float]]] = {name: [] for name in FORMATS}
    first: dict[PixelFormatName, float] = {}  # it waits until the format's pipeline has been built
    with TritonServer(repository, free_addresses(), lambda line: None) as server, ExitStack() as stack:
        server.wait_until_ready()
        detector = stack.enter_context(Detector(_grpc(server.addresses)))
        for number in tracked(range(-WARM_UP, rounds), rounds + WARM_UP, "requests"):
            for name, batch in batches.items():
                before = time.perf_counter(), time.process_time(), processor_seconds(server.running.pid)
                detector.detect_frames(batch, pixel_format=name)
                after = time.perf_counter(), time.process_time(), processor_seconds(server.running.pid)
                first.setdefault(name, 1000 * (after[0] - before[0]))
                if number >= 0:
                    spent[name].append(tuple(b - a for a, b in zip(before, after, strict=True)))  # type: ignore[arg-type]
        carried = {name: _carried(server.addresses, name, batch) for name, batch in batches.items()}
    return {
        "measured_on": measured_on(),
        "frames": {"count": COUNT, "height": HEIGHT, "width": WIDTH},
        "rounds": rounds,
        "pixel_formats": {
            name: {**_figures(name, carried, spent), "first_request_ms": first[name]} for name in FORMATS
        },
    }


def _figures(
    name: PixelFormatName,
    carried: Mapping[PixelFormatName, int],
    spent: Mapping[PixelFormatName, list[tuple[float, float, float]]],
) -> dict[str, Any]:
    """Return the figures of one format; ratios are those to RGB in the same run."""
    figures: dict[str, Any] = {
        "bytes_of_a_frame": PIXEL_FORMATS[name].nbytes(HEIGHT, WIDTH),
        "bytes_over_the_connection": carried[name],
        "bytes_to_rgb": carried[name] / carried["rgb"],
    }
    for place, what in enumerate(("request", "client_processor", "server_processor")):
        # The kernel counts the server's time in ticks of 10 ms: a mean over all rounds, which a median would not be.
        ours, rgb = (statistics.mean(row[place] for row in spent[one]) for one in (name, "rgb"))
        figures |= {f"{what}_ms_a_frame": 1000 * ours / COUNT, f"{what}_to_rgb": ours / rgb}
    return figures


def _grpc(at: Addresses) -> str:
    return f"{at.host}:{at.grpc}"


def _carried(at: Addresses, name: PixelFormatName, batch: np.ndarray) -> int:
    """Return bytes of one request and its answer, with the protocol's own."""
    with CountingProxy(at.host, at.grpc) as proxy, Detector(f"{proxy.host}:{proxy.port}") as detector:
        detector.detect_frames(batch, pixel_format=name)  # asks for the labels too
        before = proxy.bytes
        detector.detect_frames(batch, pixel_format=name)
        return proxy.bytes - before


if __name__ == "__main__":
    typer.run(main)
