"""Command line: python -m bench.sources, what it costs to bring a decoded picture into a slot."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Annotated

import av
import cv2
import numpy as np
import typer
from av.video.reformatter import Colorspace

from bench.origin import measured_on
from triton_yolo.boards import draw_board
from triton_yolo.clients.stream.sources.pictures import Converter
from triton_yolo.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
SIZES = ((960, 1280), (1080, 1920))  # height, width
BT709, BT601 = 1, 6  # AVColorSpace (libavutil/pixfmt.h)
WAYS = {  # what the stream says, and what is delivered
    "BT.601 as nv12": (BT601, "nv12"),
    "BT.601 as rgb": (BT601, "rgb"),
    "BT.709 as rgb": (BT709, "rgb"),
    "BT.709 as nv12": (BT709, "nv12"),
}


def main(
    out: Annotated[Path, typer.Option(help="File for the results.")] = ROOT / "bench/results/sources.json",
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured, in turn.")] = 300,
) -> None:
    """Measure each way of a decoded picture (planar 4:2:0, limited range) into a slot."""
    result = {
        "measured_on": {**measured_on(), "av": av.__version__},
        "rounds": rounds,
        "median_ms": {f"{height}x{width}": cost(height, width, rounds) for height, width in SIZES},
    }
    text = json.dumps(result, indent=2)
    write_whole(out, f"{text}\n".encode())
    typer.echo(text)


def cost(height: int, width: int, rounds: int) -> dict[str, float]:
    """Return the median time of each way, in milliseconds.

    Args:
        height: of the pictures, in pixels.
        width: of the pictures, in pixels.
        rounds: how often each is measured.
    """
    drawn = av.VideoFrame.from_ndarray(draw_board(0, width, height, look="photo").image, "rgb24")
    slot = np.zeros(height * width * 3, np.uint8)
    pictures: dict[int, av.VideoFrame] = {}
    for number, matrix in ((BT601, Colorspace.ITU601), (BT709, Colorspace.ITU709)):
        pictures[number] = drawn.reformat(format="yuv420p", dst_colorspace=matrix)
        pictures[number].colorspace = number
    converters = {way: Converter(pixel_format) for way, (_, pixel_format) in WAYS.items()}
    cv2.setNumThreads(1)  # as many cameras as processors
    times: dict[str, list[int]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, (matrix_number, _) in WAYS.items():
            begun = time.perf_counter_ns()
            converters[way].write(pictures[matrix_number], slot)
            times[way].append(time.perf_counter_ns() - begun)
    return {way: round(statistics.median(found) / 1e6, 3) for way, found in times.items()}


if __name__ == "__main__":
    typer.run(main)
