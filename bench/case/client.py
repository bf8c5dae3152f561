"""The client of a rung: ``python -m bench.case.client``, a process of its own, so that its time is its own.

It reads what it is to do from stdin, and writes what it saw to stdout, both JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.case.copies import between, look
from bench.case.ways import WAYS, Setting, Way
from bench.errors import BenchError
from bench.memory import resident_bytes
from bench.peers.programs import in_own_process
from bench.processor_time import processor_seconds
from triton_yolo.nms.letterbox import Letterbox

STARTING = 2.0  # seconds of each load that are not counted


@dataclass(frozen=True)
class Job:
    """What a client does.

    Attributes:
        kind: one of WAYS.
        setting: of every client.
        pid: the server's first process.
        fps: of each camera; None for as fast as it goes, 0 to return the detections of all frames once.
        seconds: that are counted.
        counts: folder in which processes count their copies, where fps is 0; empty if they don't.
        processes: names of those of the server by PID.
    """

    kind: str
    setting: Setting
    pid: int
    fps: float | None
    seconds: float = 0.0
    counts: str = ""
    processes: Mapping[str, str] = field(default_factory=dict)


def seen_by(job: Job) -> Any:
    """Run a client in a process of its own; return what it saw.

    Raises:
        BenchError: a request failed; with what the process said.
    """
    return in_own_process("bench.case.client", job, f"the client {job.kind}")


def run(job: Job) -> Any:
    """Run a client in this process."""
    cv2.setNumThreads(1)  # cameras side by side, and not parts of one picture
    with WAYS[job.kind](job.setting) as way:
        if job.fps == 0:
            return _once(way, job)
        return _measured(way, job)


def _once(way: Way, job: Job) -> dict[str, Any]:
    """Return the detections of each frame, and the copies that were made for all of them, after a first time."""
    _detections(way, job.setting)
    processes = {**job.processes, str(os.getpid()): "client"}
    before = look(Path(job.counts), processes) if job.counts else {}
    found = _detections(way, job.setting)
    copies = between(before, look(Path(job.counts), processes)) if job.counts else []
    return {"detections": found, "copies": [asdict(one) for one in copies]}


def _detections(way: Way, setting: Setting) -> list[dict[str, Any]]:
    """Return the detections of each frame once, ready for JSON."""
    found: dict[int, dict[str, Any]] = {}
    for tick in range(setting.shape[0] // setting.cameras):
        for lane in range(setting.cameras if way.frames == 1 else 1):
            for place, detections in enumerate(way.work(lane, tick)):
                found[tick * setting.cameras + lane + place] = detections.as_dict()
    return [found[number] for number in sorted(found)]


def _measured(way: Way, job: Job) -> dict[str, Any]:
    """Keep all lanes at work; each takes every tick, or every so many where they share them."""
    begin = time.perf_counter() + STARTING
    end = begin + job.seconds
    done: list[tuple[float, float]] = []  # when a request ended, and how long its frames had been captured
    skipped: list[int] = []
    failures: list[BaseException] = []
    sharing = max(1, way.lanes * way.frames // job.setting.cameras)  # lanes that share a camera's ticks

    def work(lane: int) -> None:
        own = lane if way.frames > 1 else lane // job.setting.cameras  # its number among those that share
        tick = own
        try:
            while not failures:
                captured = time.perf_counter()
                if job.fps:
                    due = begin - STARTING + tick / job.fps
                    if captured < due:
                        time.sleep(due - captured)
                    elif captured >= due + 1 / job.fps:  # the camera has a newer one
                        tick += sharing
                        if due >= begin:
                            skipped.append(way.frames)
                        if due >= end:
                            return
                        continue
                    captured = due
                if captured >= end:
                    return
                way.work(lane, tick)
                now = time.perf_counter()
                done.append((now, now - captured))
                tick += sharing
        except BaseException as error:  # of a thread: raised again below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(lane,)) for lane in range(way.lanes)]
    for thread in threads:
        thread.start()
    first = _spent(job.pid, begin)
    last = _spent(job.pid, end)
    memory = resident_bytes(job.pid)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    taken = [1e3 * seconds for at, seconds in done if begin <= at <= end]
    if not taken:
        raise BenchError(f"no request ended within {job.seconds:g} s: measure longer")
    frames = len(taken) * way.frames
    server, own = ((after - before) / frames for before, after in zip(first, last, strict=True))
    p50, p99 = np.percentile(taken, (50, 99))
    return {
        "frames_per_second": round(frames / job.seconds, 2),
        "latency_ms": {
            "p50": round(float(p50), 2),
            "p99": round(float(p99), 2),
            "std": round(float(np.std(taken)), 2),
        },
        "cpu_seconds_per_frame": {"client": round(own, 6), "server": round(server, 6)},
        "server_memory_bytes": memory,
        "dropped_share": round(sum(skipped) / (sum(skipped) + frames), 4),
    }


def _spent(pid: int, at: float) -> Sequence[float]:
    """Wait for a moment, and return the processor time of the server and of this process."""
    time.sleep(max(0.0, at - time.perf_counter()))
    return processor_seconds(pid), time.process_time()


def main() -> None:
    """Run the client that stdin tells."""
    try:
        content = json.load(sys.stdin)
        content["setting"]["letterbox"] = Letterbox(**content["setting"]["letterbox"])
        content["setting"] = Setting(**content["setting"])
        seen = run(Job(**content))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
    json.dump(seen, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # without the ends of CUDA and gRPC, which are none of what is measured


if __name__ == "__main__":
    main()
