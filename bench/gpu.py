"""Command line: python -m bench.gpu, the server on a GPU."""

from __future__ import annotations

import json
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.__main__ import HEIGHT, IMAGES, WIDTH, draw_images
from bench.gpu_baselines import decoded, opencv_loop
from bench.origin import measured_on
from bench.perf_analyzer import PerfAnalyzer, write_data
from bench.stages import stage_bytes
from bench.steady import STARTING, Steady, steady
from triton_yolo.boards import draw_board
from triton_yolo.cli.exits import leave
from triton_yolo.cli.progress import tracked
from triton_yolo.clients.detector import Detector
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole
from triton_yolo.server.process import TritonServer, free_addresses

ROOT = Path(__file__).resolve().parents[1]
CAMERAS = 8
FRAMES_IN_FLIGHT = (2, 4)  # requests of 8 frames
JPEGS_IN_FLIGHT = (64, 128)
SEARCH = 2.0  # seconds for each number in flight; the best of them is measured for as long as --seconds says
READY = 300.0  # seconds: every batch size is recorded while the server starts
PARTS = ("queue", "compute_input", "compute_infer", "compute_output")


def main(
    repository: Annotated[Path, typer.Option(help="Model repository to measure.")] = ROOT / "model_repository",
    backends: Annotated[Path | None, typer.Option(help="Folder with Triton's native DALI backend, to use it.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = ROOT / "bench" / "results",
    seconds: Annotated[float, typer.Option(min=1, help="Length of one measurement.")] = 20,
) -> None:
    """Measure latency and throughput on a GPU against DALI and a loop without a server, all in one run.

    Frames lie in CUDA shared memory, JPEGs go over gRPC. The start of each load is not counted. Leaves gpu-pip.json, or
    gpu-native.json with --backends.
    """
    try:
        result = measure(repository, backends, seconds)
    except TritonYoloError as error:
        leave("python -m bench.gpu", str(error))
    text = json.dumps(result, indent=2)
    write_whole(out / f"gpu-{'native' if backends else 'pip'}.json", f"{text}\n".encode())
    typer.echo(text)


def measure(repository: Path, backends: Path | None, seconds: float) -> dict[str, Any]:
    """Run everything; the result is what the file holds."""
    images = draw_images(IMAGES)
    boards = np.stack([draw_board(seed, WIDTH, HEIGHT, "photo").image for seed in range(CAMERAS)])
    mean = round(sum(map(len, images)) / len(images))
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("dali_alone_images_per_second", lambda: _told("DALI alone", decoded(repository, images, seconds / 4))),
        (
            "opencv_and_onnxruntime_images_per_second",
            lambda: _told("OpenCV and ONNX Runtime", opencv_loop(repository, images, seconds / 4)),
        ),
        ("served", lambda: served(repository, backends, images, boards, seconds)),
    ]
    result: dict[str, Any] = {
        "measured_on": measured_on("gpu"),
        "frames": {"count": CAMERAS, "height": HEIGHT, "width": WIDTH, "bytes": boards.nbytes},
        "jpegs": {"count": IMAGES, "height": HEIGHT, "width": WIDTH, "mean_bytes": mean},
    }
    for name, step in tracked(steps, len(steps), "measuring"):
        result[name] = step()
    dali, loop, ours = (result[name] for name, _ in steps)
    best = ours["jpegs"]["best"]["throughput"]
    return {**result, "jpegs_to_dali_alone": best / max(dali.values()), "jpegs_to_opencv_loop": best / loop}


def served(
    repository: Path, backends: Path | None, images: Sequence[bytes], boards: np.ndarray, seconds: float
) -> dict[str, Any]:
    """Return latency one request at a time, throughput at the best number in flight, and where the time goes."""
    with (
        TritonServer(repository, free_addresses(), lambda line: None, "gpu", backends) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        server.wait_until_ready(READY)
        url = f"127.0.0.1:{server.addresses.grpc}"
        sizes = {"frames": boards[0].nbytes, "image": sum(map(len, images)) // len(images)}
        stages = partial(_stages, repository, server.addresses.http)
        return {
            "frames": _told(
                "frames", _frames(url, boards, seconds, partial(stages, "detect_frames", sizes, len(boards)))
            ),
            "jpegs": _told("jpegs", _jpegs(url, images, Path(folder), seconds, partial(stages, "detect", sizes, 1))),
        }


def _told(name: str, figures: Any) -> Any:
    """Show figures as they come, on stderr: what is cut short has told something."""
    typer.echo(f"{name}: {json.dumps(figures)}", err=True)
    return figures


def _frames(url: str, boards: np.ndarray, seconds: float, stages: Callable[[Callable[[], Steady]], Any]) -> Any:
    with ExitStack() as stack:
        detector = stack.enter_context(Detector(url, memory="cuda"))
        frames = [stack.enter_context(detector.frames(*boards.shape[:3])) for _ in range(max(FRAMES_IN_FLIGHT))]
        for region in frames:
            region.fill(boards)

        def work(number: int) -> int:
            return len(detector.detect_frames(frames[number]))

        alone, table = stages(lambda: steady(work, 1, seconds))
        sweep = {n: steady(work, n, SEARCH).items_per_second for n in FRAMES_IN_FLIGHT}
        best = max(sweep, key=lambda n: sweep[n])
        load = steady(work, best, seconds)
    return {
        "one_request_at_a_time": asdict(alone),
        "stages": table,
        "frames_per_second_by_requests_in_flight": sweep,
        "best": {"requests_in_flight": best, **asdict(load)},
    }


def _jpegs(url: str, images: Sequence[bytes], folder: Path, seconds: float, stages: Callable[..., Any]) -> Any:
    (folder / "libraries").mkdir()
    analyzer = PerfAnalyzer(folder / "libraries")
    data, table = folder / "images.json", folder / "table.csv"
    write_data(images, data)

    def load(number: int, length: float) -> Any:
        analyzer.run(url, "detect", data, f"{number}:{number}:1", STARTING / 3, table)  # is not counted
        return analyzer.run(url, "detect", data, f"{number}:{number}:1", length / 3, table)[0]

    with Detector(url) as detector:
        alone, stage_table = stages(lambda: steady(lambda _: len([detector.detect(images[0])]), 1, seconds))
    sweep = {n: load(n, SEARCH).throughput for n in JPEGS_IN_FLIGHT}
    best = load(max(sweep, key=lambda n: sweep[n]), seconds)
    return {
        "one_request_at_a_time": asdict(alone),
        "stages": stage_table,
        "images_per_second_by_requests_in_flight": sweep,
        "best": asdict(best),
        "perf_analyzer": analyzer.version,
    }


def _stages(
    repository: Path, port: int, ensemble: str, sizes: dict[str, int], batch: int, run: Callable[[], Steady]
) -> tuple[Steady, list[dict[str, Any]]]:
    """Run one request at a time, and tell what each stage took of it and how many bytes it read and wrote."""
    before = _statistics(port)
    taken = run()
    after = _statistics(port)
    table = []
    for stage in stage_bytes(repository, ensemble, sizes):
        requests = after[stage.name]["requests"] - before[stage.name]["requests"]
        parts = {part: (after[stage.name][part] - before[stage.name][part]) / requests / 1e3 for part in PARTS}
        table.append(_row(stage.name, batch * stage.reads, batch * stage.writes, parts, taken))
    rest = 1e3 * taken.mean_ms - sum(row["microseconds"] for row in table)
    table.append({"stage": "client, gRPC and scheduling", "microseconds": rest, "share": rest / 1e3 / taken.mean_ms})
    return taken, table


def _row(name: str, reads: int, writes: int, parts: dict[str, float], taken: Steady) -> dict[str, Any]:
    total = sum(parts.values())
    share = total / 1e3 / taken.mean_ms
    return {"stage": name, "reads": reads, "writes": writes, "microseconds": total, "share": share, "parts": parts}


def _statistics(port: int) -> dict[str, dict[str, int]]:
    """Return requests and nanoseconds of every model since the start; durations are sums over requests."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/stats") as answer:
        models = json.load(answer)["model_stats"]
    return {name: numbers for model in models for name, numbers in _numbers(model)}


def _numbers(model: dict[str, Any]) -> Iterator[tuple[str, dict[str, int]]]:
    found = model["inference_stats"]
    yield model["name"], {"requests": found["success"]["count"], **{part: found[part]["ns"] for part in PARTS}}


if __name__ == "__main__":
    typer.run(main)
