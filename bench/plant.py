"""Command line: python -m bench.plant, from capture to a PLC's register, and what the sinks cost."""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
import yaml

from bench.broker import Broker
from bench.errors import BenchError
from bench.origin import measured_on
from triton_yolo.cli.exits import leave
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.stream.events import CameraStatus, LineStatus
from triton_yolo.clients.stream.frames import Result, ResultState
from triton_yolo.clients.stream.line import Line, checked
from triton_yolo.clients.stream.sinks import make_sink
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.sinks.modbus.registers import CAMERA_REGISTERS, LINE_REGISTERS
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict, Verdict
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole
from triton_yolo.server.process import TritonServer, free_addresses

ROOT = Path(__file__).resolve().parents[1]
CAMERAS = 4
PATIENCE = 120.0  # seconds
SETTLE = 5.0  # seconds of a line that are not counted: the first frames find nothing warm
SCRAPE_SECONDS = 5.0  # as Prometheus asks


def main(
    what: Annotated[
        Literal["latency", "sinks"],
        typer.Argument(
            help="latency: from capture to a register of a PLC, through a server on the CPU. sinks: processor time of "
            "the sinks, without a line."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = ROOT / "bench" / "results",
    fps: Annotated[float, typer.Option(min=0.1, help="Frames a second of each of 4 cameras.")] = 2.0,
    seconds: Annotated[float, typer.Option(min=1, help="Length of a run.")] = 60.0,
) -> None:
    """Measure what stands between a line and the plant: leaves plant-WHAT.json."""
    try:
        with tempfile.TemporaryDirectory() as name:
            measure = latency if what == "latency" else sinks
            result = measure(Path(name), fps, seconds)
    except TritonYoloError as error:
        leave("python -m bench.plant", str(error))
    machine = measured_on()
    content = {"measured_on": machine, "cameras": CAMERAS, "fps": fps, "seconds": seconds, **result}
    text = json.dumps(content, indent=2)
    write_whole(out / f"plant-{what}.json", f"{text}\n".encode())
    typer.echo(text)


class Plc:
    """A PLC in a process of its own, which notes when its registers were written; a context manager.

    Attributes:
        port: where it listens, at 127.0.0.1.
        written: time by CLOCK_MONOTONIC, in nanoseconds, at which a camera's frame stood in the registers first; by
            place of the camera and number of the frame.
    """

    def __init__(self) -> None:
        """Prepare."""
        self.port = free_addresses().grpc
        self.written: dict[tuple[int, int], int] = {}

    def __enter__(self) -> Plc:
        command = [sys.executable, "-m", "bench.plc", "--port", str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout
        if json.loads(self._process.stdout.readline() or b"null") != {"listens": self.port}:
            raise BenchError("the PLC's registers cannot be served")
        self._thread = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._thread.join()
        self._process.stdout.close()

    def _read(self, lines: Any) -> None:
        for line in lines:
            write = json.loads(line)
            if write["address"]:
                continue
            words = write["values"]
            for camera in range((len(words) - LINE_REGISTERS) // CAMERA_REGISTERS):
                block = words[LINE_REGISTERS + camera * CAMERA_REGISTERS :]
                if block[1] or block[2]:  # it has had a result
                    self.written.setdefault((camera, block[3] << 16 | block[4]), write["at"])


def latency(folder: Path, fps: float, seconds: float) -> dict[str, Any]:
    """Return the time from capture to a register of a PLC, and where it goes.

    Args:
        folder: for files.
        fps: frames a second of each camera.
        seconds: how long.
    """
    addresses = free_addresses()
    with (
        TritonServer(ROOT / "model_repository", free_addresses(), lambda line: None) as server,
        Plc() as plc,
    ):
        server.wait_until_ready(PATIENCE)
        names = [f"camera-{number}" for number in range(1, CAMERAS + 1)]
        line = {
            "name": folder.name,
            "url": f"{server.addresses.host}:{server.addresses.grpc}",
            "deadline_ms": 2000,
            "cameras": [{"name": name, "uri": "synthetic:photo", "fps": fps} for name in names],
            "sinks": [
                {"kind": "modbus", "mode": "client", "port": plc.port},
                {"kind": "metrics", "port": addresses.metrics},
            ],
        }
        (folder / "line.yaml").write_text(yaml.safe_dump(line))
        command = [sys.executable, "-m", "triton_yolo", "stream", str(folder / "line.yaml"), "--json"]
        frames: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        with subprocess.Popen(
            [*command, "--seconds", str(seconds + SETTLE)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout
            stages: dict[str, float] = {}
            for text in process.stdout:
                frames.put(json.loads(text))
                with contextlib.suppress(OSError):
                    stages = _stages(addresses.metrics)
            if process.wait(PATIENCE):
                raise BenchError(f"the line has ended with status {process.returncode}")
    return _summary(frames, plc, names, fps, stages)


def _stages(port: int) -> dict[str, float]:
    """Return sum and count of each stage's seconds so far, as a line shows them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    found: dict[str, float] = {}
    for text in lines:
        name, _, rest = text.partition("{")
        if name in ("triton_yolo_latency_seconds_sum", "triton_yolo_latency_seconds_count"):
            stage = rest.partition('stage="')[2].partition('"')[0]
            key = f"{stage} {name.rpartition('_')[2]}"
            found[key] = found.get(key, 0.0) + float(rest.rpartition(" ")[2])
    return found


def _summary(
    frames: queue.SimpleQueue[dict[str, Any]], plc: Plc, names: list[str], fps: float, stages: dict[str, float]
) -> dict[str, Any]:
    to_wall = time.time_ns() - time.monotonic_ns()
    whole, answered, written = list[float](), list[float](), list[float]()
    captured = missed = 0
    while not frames.empty():
        frame = frames.get()
        if frame["number"] < SETTLE * fps:
            continue
        captured += 1
        at = plc.written.get((names.index(frame["camera"]), frame["number"]))
        if frame["state"] != "inspected" or at is None:
            missed += 1
            continue
        whole.append((at + to_wall) / 1e6 - frame["captured"] * 1e3)
        answered.append(frame["latency_ms"])
        written.append(whole[-1] - frame["latency_ms"])
    means = {stage: stages[f"{stage} sum"] / stages[f"{stage} count"] * 1e3 for stage in ("waiting", "inference")}
    mean = float(np.mean(whole))
    steps = {
        "capture to request": means["waiting"],
        "request to answer": means["inference"],
        "answer to register": float(np.mean(written)),
    }
    return {
        "frames": captured,
        "not_in_a_register": missed,
        "capture_to_register_ms": _quantiles(whole),
        "capture_to_answer_ms": _quantiles(answered),
        "answer_to_register_ms": _quantiles(written),
        "mean_ms": round(mean, 2),
        "steps_mean_ms": {name: round(value, 2) for name, value in steps.items()},
        "steps_share": {name: round(value / sum(steps.values()), 3) for name, value in steps.items()},
    }


def _quantiles(values: list[float]) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(values, share)), 2) for share in (50, 99)}


def sinks(folder: Path, fps: float, seconds: float) -> dict[str, Any]:
    """Return the processor time of each sink by itself, and of all together, as shares of a core.

    Args:
        folder: for files.
        fps: frames a second of each camera.
        seconds: length of a run.
    """
    program = shutil.which("mosquitto")
    if program is None:
        raise BenchError("mosquitto is not installed: the package mosquitto of Debian and Ubuntu")
    ports = free_addresses()
    with Broker(program, folder / "broker") as broker, Plc() as plc:
        settings: dict[str, dict[str, Any]] = {
            "json": {"path": folder / "line.json"},
            "log": {"path": folder / "log.sqlite"},
            "metrics": {"port": ports.metrics},
            "modbus": {"mode": "client", "port": plc.port},
            "mqtt": {"host": "127.0.0.1", "port": broker.port, "keep": folder / "box"},
            "opcua": {"port": ports.grpc},
        }
        scrape = _scraping(ports.metrics)
        nothing = _share(folder, [], fps, seconds, scrape)
        shares = {}
        for names in ([name] for name in settings):
            shares[names[0]] = (
                _share(folder, [{"kind": names[0], **settings[names[0]]}], fps, seconds, scrape) - nothing
            )
        together = (
            _share(folder, [{"kind": name, **one} for name, one in settings.items()], fps, seconds, scrape) - nothing
        )
    return {
        "share_of_a_core": {name: round(max(0.0, share), 4) for name, share in shares.items()},
        "all_together": round(together, 4),
        "without_sinks": round(nothing, 4),
        "detections_in_every_tenth_frame": 1,
    }


@contextlib.contextmanager
def _running(folder: Path, kinds: list[dict[str, Any]]) -> Iterator[list[Sink]]:
    cameras = [{"name": f"camera-{number}", "uri": "synthetic:photo"} for number in range(1, CAMERAS + 1)]
    line: Line = checked({"name": "line", "cameras": cameras, "sinks": kinds}, "")
    made = [make_sink(settings, line) for settings in line.sinks]
    try:
        for sink in made:
            for camera in line.cameras:
                sink.put(CameraStatus(camera.name, "running", ""))
        yield made
    finally:
        for sink in made:
            sink.close()


def _scraping(port: int) -> Callable[[], None]:
    def scrape() -> None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()

    return scrape


def _share(folder: Path, kinds: list[dict[str, Any]], fps: float, seconds: float, scrape: Callable[[], None]) -> float:
    """Return the processor time of this process while sinks get results, as a share of a core."""
    with _running(folder, kinds) as made:
        time.sleep(0.5)  # they have begun
        begun, spent = time.monotonic(), time.process_time()
        scraped = told = begun
        for tick in range(round(seconds * fps)):
            time.sleep(max(0.0, begun + tick / fps - time.monotonic()))
            for camera in range(1, CAMERAS + 1):
                verdict, board = _result(f"camera-{camera}", tick)
                for sink in made:
                    sink.put(verdict)
                    sink.put(board)
            now = time.monotonic()
            if now >= told + 1:
                told = now
                for sink in made:
                    sink.put(_status(tick, made))
            if now >= scraped + SCRAPE_SECONDS and any(sink.kind == "metrics" for sink in made):
                scraped = now
                scrape()
        return (time.process_time() - spent) / (time.monotonic() - begun)


def _status(tick: int, made: list[Sink]) -> LineStatus:
    counts = {"captured": tick, "answered": tick, "dropped": {}, "in_flight": 0, "restarts": 0, "state": "running"}
    rows = [{"name": f"camera-{number}", **counts} for number in range(1, CAMERAS + 1)]
    places = [{"kind": sink.kind, "missed": sink.missed, "queued": sink.queued, **sink.status()} for sink in made]
    return LineStatus("", {"cameras": rows, "total": {}, "sinks": places})


def _result(camera: str, number: int) -> tuple[FrameVerdict, BoardVerdict]:
    """Return the verdicts on a frame and its board; every tenth has a defect."""
    found = int(number % 10 == 0)
    boxes, scores = np.full((found, 4), 10.5, np.float32), np.full(found, 0.75, np.float32)
    detections = Detections(boxes, scores, np.zeros(found, np.int32), ("open",) * found)
    now = time.monotonic_ns()
    verdict = Verdict.FAIL if found else Verdict.PASS
    result = Result(camera, number, ResultState.INSPECTED, "", time.time_ns(), now, (960, 1280), 30.0, detections, now)
    worst = ("open", 0.75) if found else None
    board = BoardVerdict(
        camera, number + 1, verdict, "", 1, 1, found, worst, (number, number), result.captured_ns, result.captured_ns
    )
    return FrameVerdict(result, verdict, "1 defect" if found else "", detections), board


if __name__ == "__main__":
    typer.run(main)
