"""Command line: python -m bench.ring, the ring under SIGKILL, and what it costs."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.origin import measured_on
from bench.ring_torture import torture
from triton_yolo.cli.exits import leave
from triton_yolo.cli.progress import tracked
from triton_yolo.clients.memory.ring import Reader, Ring, Writer
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
HEIGHT, WIDTH, ROWS = 960, 1280, 8
CHANNELS = {"bayer": 1, "rgb": 3}  # bytes of a pixel
WARM_UP = 2 * ROWS  # rounds that are not measured: both kinds of memory are touched for the first time


def main(
    out: Annotated[Path, typer.Option(help="File for the results.")] = ROOT / "bench/results/ring.json",
    frames: Annotated[int, typer.Option(min=1, help="Frames that are to be answered.")] = 100_000,
    kills: Annotated[int, typer.Option(min=0, help="Processes that are to be killed meanwhile.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of what is random.")] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the cost, each way of each format in turn.")] = 1000,
) -> None:
    """Kill writers and readers of the ring while frames flow, and measure what the ring costs.

    Fails where a frame was torn, lost or answered twice, or a slot, a file or a descriptor is left. The cost is that of
    a frame of 1280x960 through the ring, against one copy of it in ordinary memory. Takes some three minutes.
    """
    try:
        tortured = torture(frames, kills, seed, lambda moments: tracked(moments, kills, "killed"))
        result = {
            "measured_on": {**measured_on(), "kernel": platform.release()},
            "torture": {"seed": seed, **tortured},
            "cost": {"height": HEIGHT, "width": WIDTH, "rounds": rounds, **cost(rounds)},
        }
    except TritonYoloError as error:
        leave("python -m bench.ring", str(error))
    text = json.dumps(result, indent=2)
    write_whole(out, f"{text}\n".encode())
    typer.echo(text)


def cost(rounds: int) -> dict[str, Any]:
    """Return what a frame costs in the ring and what its copy costs, in microseconds, for each pixel format.

    Writer and reader are in one process, with an open file each, so that nothing waits for the scheduler. The copy in
    ordinary memory goes to as many places in turn as the ring has slots, so that no cache favours it.
    """
    with ExitStack() as stack:
        lanes = {name: stack.enter_context(_lane(HEIGHT * WIDTH * channels)) for name, channels in CHANNELS.items()}
        times: dict[str, dict[str, list[float]]] = {
            name: {way: [] for way in ("copy", "with_copy", "without_copy")} for name in CHANNELS
        }
        steps: dict[str, list[float]] = {}
        for number in tracked(range(-WARM_UP, rounds), WARM_UP + rounds, "rounds"):
            for name, lane in lanes.items():
                taken = {"copy": lane.copy(), "with_copy": lane.through(True), "without_copy": lane.through(False)}
                if number >= 0:
                    for way, parts in taken.items():
                        times[name][way].append(sum(parts.values()))
                    for part, microseconds in taken["without_copy"].items():
                        steps.setdefault(part, []).append(microseconds)
        return {
            "load_average": round(os.getloadavg()[0], 1),  # copies are slower where others use the memory too
            "formats": {name: _summary(HEIGHT * WIDTH * CHANNELS[name], ways) for name, ways in times.items()},
            "steps_us": {part: round(statistics.median(values), 2) for part, values in steps.items() if part != "copy"},
        }


def _summary(nbytes: int, ways: dict[str, list[float]]) -> dict[str, float]:
    return {
        "bytes": nbytes,
        "one_copy_us": round(statistics.median(ways["copy"]), 1),
        "ring_with_copy_us": round(statistics.median(ways["with_copy"]), 1),
        "ring_without_copy_us": round(statistics.median(ways["without_copy"]), 1),
        "ring_to_copy": round(
            statistics.median(a / b for a, b in zip(ways["with_copy"], ways["copy"], strict=True)), 3
        ),
    }


class Lane:
    """A ring with a writer and a reader, a frame, and as much ordinary memory as the ring has."""

    def __init__(self, ring: Ring, again: Ring, ready: int, nbytes: int) -> None:
        self._reader, self._writer, self._ready = Reader(ring), Writer(again, 0, ready), ready
        self._frame = np.random.default_rng(0).integers(0, 256, nbytes, np.uint8)
        self._elsewhere, self._place = np.zeros((ROWS, nbytes), np.uint8), 0

    def copy(self) -> dict[str, float]:
        """Copy the frame once in ordinary memory; return microseconds."""
        self._place = (self._place + 1) % ROWS
        target = self._elsewhere[self._place]
        start = time.perf_counter_ns()
        target[:] = self._frame
        return {"copy": (time.perf_counter_ns() - start) / 1000}

    def through(self, copy: bool) -> dict[str, float]:
        """Pass a frame through the ring; return microseconds of each step.

        Args:
            copy: whether it is copied into its slot.
        """
        clock, marks = time.perf_counter_ns, {}
        last = clock()

        def done(step: str) -> None:
            nonlocal last
            now = clock()
            marks[step] = (now - last) / 1000
            last = clock()

        capture = self._writer.begin(0, 0)
        assert capture
        done("begin")
        if copy:
            self._writer.pixels(capture)[: self._frame.size] = self._frame
        done("copy")
        self._writer.publish(capture, self._frame.size, HEIGHT, WIDTH, 0)
        done("publish")
        os.eventfd_read(self._ready)
        (found,) = self._reader.ready()
        done("ready")
        if not self._reader.take(found):
            raise AssertionError("nobody else is there to take it")
        done("take")
        self._reader.release(found)
        done("release")
        return marks


@contextmanager
def _lane(nbytes: int) -> Iterator[Lane]:
    ready = os.eventfd(0, os.EFD_CLOEXEC)
    try:
        with Ring.create(f"cost-{os.getpid()}-{nbytes}", ROWS, 1, nbytes) as ring, Ring.open(ring.path) as again:
            yield Lane(ring, again, ready, nbytes)
    finally:
        os.close(ready)


if __name__ == "__main__":
    typer.run(main)
