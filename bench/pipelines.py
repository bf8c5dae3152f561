"""Command line: python -m bench.pipelines, the DALI definitions on a GPU against the same on the CPU."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from bench.origin import measured_on
from triton_yolo.boards import draw_board
from triton_yolo.boards.sensor import as_sensor
from triton_yolo.clients.pixel_formats import PIXEL_FORMATS
from triton_yolo.dali_definition import load_definition
from triton_yolo.files import write_whole

Samples = Mapping[str, Sequence[np.ndarray]]  # by external source

ROOT = Path(__file__).resolve().parents[1]
SIZES = ((1280, 960), (640, 640), (427, 640), (641, 639), (3000, 2001), (97, 131))  # width, height
DEVICES, BATCHES, RUNS = ("gpu", "cpu"), (1, 8, 32), 50


def main(
    repository: Annotated[Path, typer.Option(help="Model repository.")] = ROOT / "model_repository",
    out: Annotated[Path, typer.Option(help="File for the results.")] = ROOT / "bench/results/gpu-pipelines.json",
) -> None:
    """Compare pixels and sizes of all definitions on GPU and CPU, and measure how many images a second each takes.

    On the CPU the colours of sensors are OpenCV's to the last bit, so that the difference is that from OpenCV too.
    """
    boards = [draw_board(seed, *size, "photo").image for seed, size in enumerate(SIZES)]
    encoded = [_encode(board, suffix) for board in boards for suffix in (".jpg", ".png")]
    result = {
        "measured_on": measured_on("gpu"),
        "preprocess": _compare(repository, "preprocess", {"image": encoded}),
        "preprocess_frames": _compare(repository, "preprocess_frames", {"frames": boards}),
        **{
            f"preprocess_{name}": _compare(repository, f"preprocess_{name}", _of_sensors(boards, name))
            for name in ("bayer", "yuyv", "nv12")
        },
    }
    text = json.dumps(result, indent=2)
    write_whole(out, f"{text}\n".encode())
    typer.echo(text)


def _of_sensors(boards: Sequence[np.ndarray], name: str) -> Samples:
    """Return the boards, without their odd rows and columns, in the formats of which a name begins so."""
    formats = [one for one in PIXEL_FORMATS.values() if one.name.startswith(name)]
    even = [board[: len(board) // 2 * 2, : board.shape[1] // 2 * 2].copy() for board in boards]
    samples: dict[str, list[np.ndarray]] = {"frames": [as_sensor(board, f.name) for f in formats for board in even]}
    for one in formats:
        for key, rows in one.inputs(len(even)).items():
            samples.setdefault(key, []).extend(rows)
    return samples


def _compare(repository: Path, name: str, inputs: Samples) -> dict[str, Any]:
    """Return what the GPU makes of the samples against the CPU, and the speed of each with the first sample."""
    definition = getattr(load_definition(repository / name / "1" / "dali.py"), name)
    samples, *_ = inputs.values()
    first = {source: listed[:1] for source, listed in inputs.items()}
    on_gpu, on_cpu = (_run(_build(definition, device, len(samples)), inputs) for device in DEVICES)
    differences = [np.abs(gpu[0].astype(int) - cpu[0]) for gpu, cpu in zip(on_gpu, on_cpu, strict=True)]
    speeds = {d: {n: _speed(_build(definition, d, n), first, n) for n in BATCHES} for d in DEVICES}
    return {
        "samples": len(samples),
        "equal_image_sizes": sum(bool((gpu[1] == cpu[1]).all()) for gpu, cpu in zip(on_gpu, on_cpu, strict=True)),
        "largest_mean_difference_in_grey_levels": max(float(difference.mean()) for difference in differences),
        "largest_difference_in_grey_levels": max(int(difference.max()) for difference in differences),
        "images_per_second_by_batch": speeds,
    }


def _encode(board: np.ndarray, suffix: str) -> np.ndarray:
    return cv2.imencode(suffix, cv2.cvtColor(board, cv2.COLOR_RGB2BGR))[1].ravel()


def _build(definition: Any, device: str, batch: int) -> Any:
    number = 0 if device == "gpu" else None
    threads = len(os.sched_getaffinity(0))
    pipeline = definition(device=device, device_id=number, batch_size=batch, num_threads=threads)
    pipeline.build()
    return pipeline


def _run(pipeline: Any, inputs: Samples) -> list[tuple[np.ndarray, np.ndarray]]:
    for source, samples in inputs.items():
        pipeline.feed_input(source, list(samples))
    images, sizes = (output.as_cpu() for output in pipeline.run())
    return [(images.at(i), sizes.at(i)) for i in range(len(images))]


def _speed(pipeline: Any, first: Samples, batch: int) -> float:
    """Return images a second, the median of RUNS runs; for frames with the copy to the GPU."""
    seconds = []
    for _ in range(RUNS + 10):
        start = time.perf_counter()
        _run(pipeline, {source: list(samples) * batch for source, samples in first.items()})
        seconds.append(time.perf_counter() - start)
    return round(batch / float(np.median(seconds[10:])), 1)


if __name__ == "__main__":
    typer.run(main)
