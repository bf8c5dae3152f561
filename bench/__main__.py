"""Command line: python -m bench."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from bench.float_graph import NETWORK, float_repository
from bench.in_process import loops
from bench.memory import growth
from bench.origin import measured_on
from bench.perf_analyzer import PerfAnalyzer, write_data
from bench.stages import stage_bytes
from triton_yolo.boards import draw_board
from triton_yolo.cli.exits import leave
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole
from triton_yolo.server.process import TritonServer, free_addresses

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT, IMAGES, QUALITY = 1280, 960, 16, 90
LEVELS = "1:8:1"  # requests in flight: from, to, step
CHECKED = (500, 5000)  # requests after which the memory is compared


def main(
    repository: Annotated[Path, typer.Option(help="Model repository to measure.")] = ROOT / "model_repository",
    network: Annotated[Path, typer.Option(help="The float network of its INT8 graph.")] = NETWORK,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = ROOT / "bench" / "results",
    rounds: Annotated[int, typer.Option(min=1, help="In-process and served, in turn, this many times.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="Length of one measurement.")] = 12,
) -> None:
    """Measure the server on the CPU against the same stages without a server, in one run.

    The same repository with the float graph is served beside it, to be compared with. Leaves cpu.json with every
    figure and cpu-perf_analyzer.csv, perf_analyzer's own table. Takes some ten minutes and wants the machine for
    itself.
    """
    try:
        result = measure(repository, network, out, rounds, seconds)
    except TritonYoloError as error:
        leave("python -m bench", str(error))
    text = json.dumps(result, indent=2)
    write_whole(out / "cpu.json", f"{text}\n".encode())
    typer.echo(text)


def measure(repository: Path, network: Path, out: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Run everything; the result is what bench/results/cpu.json holds."""
    images = draw_images(IMAGES)
    arrays = [np.frombuffer(image, np.uint8) for image in images]
    mean_bytes = round(statistics.mean(map(len, images)))
    with tempfile.TemporaryDirectory() as folder, progress_bar(rounds) as step:
        analyzer = PerfAnalyzer(Path(folder))
        data = Path(folder) / "images.json"
        write_data(images, data)

        with TritonServer(repository, free_addresses(), lambda line: None) as server:
            server.wait_until_ready()
            proved = server.proved()["yolo"]
            in_process = dict(loops(repository, arrays, proved.arithmetic))
            speeds = {}
            for name, loop in in_process.items():
                step(f"without a server: {name}")
                loop(1)  # the first second compiles and fills caches
                speeds[name] = loop(seconds)
            best_loop = max(speeds, key=lambda name: speeds[name])
            url = f"127.0.0.1:{server.addresses.grpc}"
            step("served, by requests in flight")
            table = Path(folder) / "table.csv"
            sweep = analyzer.run(url, "detect", data, LEVELS, seconds / 3, table)
            write_whole(out / "cpu-perf_analyzer.csv", table.read_bytes())
            best = max(sweep, key=lambda load: load.throughput)
            level = f"{best.concurrency}:{best.concurrency}:1"
            floats = float_repository(network, repository, Path(folder) / "float")
            pairs = []
            with TritonServer(floats, free_addresses(), lambda line: None) as other:
                other.wait_until_ready()
                float_url = f"127.0.0.1:{other.addresses.grpc}"
                for number in range(rounds):
                    step(f"served, not served, and the float graph served, round {number + 1} of {rounds}")
                    alone = in_process[best_loop](seconds)
                    served, slower = (
                        analyzer.run(address, "detect", data, level, seconds / 3, table)[0].throughput
                        for address in (url, float_url)
                    )
                    pairs.append({"in_process": alone, "served": served, "float_graph_served": slower})
            step(f"memory over {CHECKED[-1]} requests")
            memory = growth(server.running.pid, url, images, CHECKED)

    return {
        "measured_on": {**measured_on(), "perf_analyzer": analyzer.version},
        "images": {"count": IMAGES, "width": WIDTH, "height": HEIGHT, "quality": QUALITY, "mean_bytes": mean_bytes},
        "arithmetic": proved._asdict(),
        "in_process_images_per_second": speeds,
        "served_by_requests_in_flight": [asdict(load) for load in sweep],
        "rounds": {"loop": best_loop, "requests_in_flight": best.concurrency, "pairs": pairs},
        "served_to_in_process_ratio": statistics.median(pair["served"] / pair["in_process"] for pair in pairs),
        "served_to_float_graph_ratio": statistics.median(pair["served"] / pair["float_graph_served"] for pair in pairs),
        "one_request_at_a_time_ms": {"p50": sweep[0].p50, "p99": sweep[0].p99},
        "resident_bytes_after_requests": memory,
        "resident_growth": memory[CHECKED[1]] / memory[CHECKED[0]] - 1,
        "bytes_per_image": [asdict(stage) for stage in stage_bytes(repository, "detect", {"image": mean_bytes})],
    }


def draw_images(count: int) -> list[bytes]:
    """Return boards as a camera sends them: JPEGs."""
    return [as_camera(draw_board(seed, WIDTH, HEIGHT, "photo").image) for seed in range(count)]


def as_camera(board: np.ndarray) -> bytes:
    """Return a board, uint8 [H, W, 3] RGB, as the JPEG that a camera makes of it."""
    options = (cv2.IMWRITE_JPEG_QUALITY, QUALITY)
    return cv2.imencode(".jpg", cv2.cvtColor(board, cv2.COLOR_RGB2BGR), options)[1].tobytes()


@contextmanager
def progress_bar(rounds: int) -> Iterator[Callable[[str], None]]:
    """Return a bar on stderr; calling what it yields ends a step and names the next."""
    steps = 4 + 1 + rounds + 1  # loops, sweep, rounds, memory
    with Progress(*Progress.get_default_columns()[:2], TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("drawing boards", total=steps)
        yield lambda name: progress.update(task, advance=1, description=name)


if __name__ == "__main__":
    typer.run(main)
