"""Command line: python -m bench.pipelines, the DALI definitions on a GPU against the same on the CPU."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from triton_yolo.boards import draw_board
from triton_yolo.dali_definition import load_definition
from triton_yolo.files import write_whole
from triton_yolo.machine import describe_gpu, describe_machine

ROOT = Path(__file__).resolve().parents[1]
SIZES = ((1280, 960), (640, 640), (427, 640), (641, 639), (3000, 2001), (97, 131))  # width, height
DEVICES, BATCHES, RUNS = ("gpu", "cpu"), (1, 8, 32), 50


def main(
    repository: Annotated[Path, typer.Option(help="Model repository.")] = ROOT / "model_repository",
    out: Annotated[Path, typer.Option(help="File for the results.")] = ROOT / "bench/results/gpu-pipelines.json",
) -> None:
    """Compare pixels and sizes of both definitions on GPU and CPU, and measure how many images a second each takes."""
    boards = [draw_board(seed, *size, "photo").image for seed, size in enumerate(SIZES)]
    encoded = [_encode(board, suffix) for board in boards for suffix in (".jpg", ".png")]
    result = {
        "measured_on": {**describe_gpu(), **describe_machine(), "date": date.today().isoformat()},
        "preprocess": _compare(repository, "preprocess", "image", encoded),
        "preprocess_frames": _compare(repository, "preprocess_frames", "frames", boards),
    }
    text = json.dumps(result, indent=2)
    write_whole(out, f"{text}\n".encode())
    typer.echo(text)


def _compare(repository: Path, name: str, source: str, samples: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return what the GPU makes of the samples against the CPU, and the speed of each with the first sample."""
    definition = getattr(load_definition(repository / name / "1" / "dali.py"), name)
    on_gpu, on_cpu = (_run(_build(definition, device, len(samples)), source, samples) for device in DEVICES)
    differences = [np.abs(gpu[0].astype(int) - cpu[0]) for gpu, cpu in zip(on_gpu, on_cpu, strict=True)]
    speeds = {d: {n: _speed(_build(definition, d, n), source, samples[0], n) for n in BATCHES} for d in DEVICES}
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


def _run(pipeline: Any, source: str, samples: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    pipeline.feed_input(source, list(samples))
    images, sizes = (output.as_cpu() for output in pipeline.run())
    return [(images.at(i), sizes.at(i)) for i in range(len(samples))]


def _speed(pipeline: Any, source: str, sample: np.ndarray, batch: int) -> float:
    """Return images a second, the median of RUNS runs; for frames with the copy to the GPU."""
    seconds = []
    for _ in range(RUNS + 10):
        start = time.perf_counter()
        pipeline.feed_input(source, [sample] * batch)
        for output in pipeline.run():
            output.as_cpu()
        seconds.append(time.perf_counter() - start)
    return round(batch / float(np.median(seconds[10:])), 1)


if __name__ == "__main__":
    typer.run(main)
