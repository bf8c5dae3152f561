"""Command line: python -m bench.stream, lines of synthetic cameras against a server of their own."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml
from PIL import Image

from bench.errors import BenchError
from bench.held import last_to_first_quarter, open_files
from bench.memory import resident_bytes
from bench.origin import measured_on
from bench.processor_time import processor_seconds
from triton_yolo.boards.line import Line
from triton_yolo.cli.exits import leave
from triton_yolo.cli.progress import tracked
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole
from triton_yolo.server.process import TritonServer, free_addresses

ROOT = Path(__file__).resolve().parents[1]
HEIGHT, WIDTH, QUALITY = 960, 1280, 90
READY = 300.0  # seconds: a server on a GPU runs every batch size while it starts
SHORT, LONG = 6.0, 26.0  # seconds of two runs whose difference is what frames cost, without start and end
# How the frames of one camera travel: memory of the line, and the camera.
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "ring, RGB": ("system", {"uri": "synthetic:photo"}),
    "ring, Bayer": ("system", {"uri": "synthetic:photo", "options": {"pixel_format": "bayer_rggb"}}),
    "gRPC, RGB": ("plain", {"uri": "synthetic:photo"}),
    "gRPC, JPEG": ("plain", {"uri": "JPEGS", "options": {"loop": True}}),
}


def main(
    what: Annotated[
        Literal["cost", "rate", "soak"],
        typer.Argument(
            help="cost: processor time of a frame by the way that it travels. rate: latency, and the highest rate that "
            "holds. soak: memory and descriptors over a long time."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = ROOT / "bench" / "results",
    device: Annotated[Literal["cpu", "gpu"], typer.Option(help="Device of the server.")] = "cpu",
    backends: Annotated[Path | None, typer.Option(help="Folder with Triton's native DALI backend, to use it.")] = None,
    memory: Annotated[Literal["system", "cuda"], typer.Option(help="Of rate: how frames reach the server.")] = "system",
    pixel_format: Annotated[str, typer.Option(help="Of rate: what the sensors deliver, such as bayer_rggb.")] = "rgb",
    cameras: Annotated[int, typer.Option(min=1, help="Of rate and soak: number of cameras.")] = 4,
    fps: Annotated[float, typer.Option(min=0.1, help="Frames a second of each camera.")] = 2.0,
    seconds: Annotated[float, typer.Option(min=1, help="Of rate and soak: length of a run.")] = 60.0,
    trials: Annotated[int, typer.Option(min=0, help="Of rate: rates that are tried for the highest that holds.")] = 6,
    rounds: Annotated[int, typer.Option(min=1, help="Of cost: all ways in turn, so many times.")] = 3,
) -> None:
    """Measure lines of cameras: each frame of 1280x960, from its capture to its verdict.

    Leaves stream-WHAT-DEVICE.json; of rate, stream-rate-DEVICE-FORMAT.json.
    """
    try:
        with TritonServer(ROOT / "model_repository", free_addresses(), lambda line: None, device, backends) as server:
            server.wait_until_ready(READY)
            bench = Bench(server, fps)
            if what == "cost":
                result = bench.cost(rounds)
            elif what == "rate":
                result = bench.rate(cameras, memory, seconds, pixel_format, trials)
            else:
                result = bench.soak(cameras, seconds)
    except TritonYoloError as error:
        leave("python -m bench.stream", str(error))
    machine = measured_on(device)
    text = json.dumps({"measured_on": machine, "frame": {"height": HEIGHT, "width": WIDTH}, **result}, indent=2)
    form = f"-{pixel_format}" if what == "rate" else ""
    write_whole(out / f"stream-{what}-{device}{form}.json", f"{text}\n".encode())
    typer.echo(text)


class Bench:
    """Runs lines against one server."""

    def __init__(self, server: TritonServer, fps: float) -> None:
        """Prepare.

        Args:
            server: that runs.
            fps: frames a second of each camera.
        """
        self._server, self._fps = server, fps
        self._url = f"{server.addresses.host}:{server.addresses.grpc}"

    def cost(self, rounds: int) -> dict[str, Any]:
        """Return processor seconds of a frame in the line's processes and in the server's, by way."""
        with tempfile.TemporaryDirectory() as name:
            jpegs = Path(name)
            for number, frame in zip(range(16), Line(0, WIDTH, HEIGHT, "photo", boards=2), strict=False):
                Image.fromarray(frame.image).save(jpegs / f"{number:02}.jpg", quality=QUALITY)
            found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            runs = [way for _ in range(rounds) for way in WAYS]
            for way in tracked(runs, len(runs), "lines"):
                memory, camera = WAYS[way]
                camera = {**camera, "uri": camera["uri"].replace("JPEGS", name)}
                short, long = (self._spent([camera], memory, seconds) for seconds in (SHORT, LONG))
                frames = long["frames"] - short["frames"]
                each = {part: 1e3 * (long[part] - short[part]) / frames for part in ("line", "server")}
                found[way].append({**each, "bytes": long["bytes"]})
        medians = {
            way: {part: statistics.median(one[part] for one in each) for part in ("line", "server", "bytes")}
            for way, each in found.items()
        }
        base = sum(medians["gRPC, RGB"][part] for part in ("line", "server"))
        return {
            "fps": self._fps,
            "rounds": rounds,
            "ways": {
                way: {
                    "bytes_per_frame": round(one["bytes"]),
                    "line_ms": round(one["line"], 2),
                    "server_ms": round(one["server"], 2),
                    "ratio_to_grpc_rgb": round((one["line"] + one["server"]) / base, 3),
                }
                for way, one in medians.items()
            },
        }

    def rate(self, cameras: int, memory: str, seconds: float, form: str, trials: int) -> dict[str, Any]:
        """Return the report at the rate asked for, and the highest rate that holds without a drop."""
        settings = [{"uri": "synthetic:photo", "options": {"pixel_format": form}}] * cameras
        asked = self._told(settings, memory, seconds, self._fps)
        low, high = (self._fps, None) if not asked["total"]["dropped"] else (0.0, self._fps)
        trial = min(15.0, seconds)
        for _ in range(trials):
            fps = round(low * 1.5 if high is None else (low + high) / 2, 1)
            if self._told(settings, memory, trial, fps)["total"]["dropped"]:
                high = fps
            else:
                low = fps
        settled = {"cameras": cameras, "fps": self._fps, "memory": memory, "pixel_format": form}
        return {**settled, "report": asked, "highest_fps": low}

    def _told(self, cameras: list[dict[str, Any]], memory: str, seconds: float, fps: float) -> dict[str, Any]:
        """Run a line, and show what came of it, on stderr: what is cut short has told something."""
        report = self._report(cameras, memory, seconds, fps)
        total = {key: report["total"][key] for key in ("captured", "dropped", "latency_ms", "frames_per_second")}
        typer.echo(f"{fps:g} frames/s of each camera for {seconds:g} s: {json.dumps(total)}", err=True)
        return report

    def soak(self, cameras: int, seconds: float) -> dict[str, Any]:
        """Return memory and open files of the line's and the server's processes over time."""
        samples: list[dict[str, float]] = []
        with tempfile.TemporaryDirectory() as name:
            control = Path(name, "control")
            with self._line([{"uri": "synthetic:photo"}] * cameras, "system", seconds, None, control) as (
                process,
                report,
            ):
                while not control.exists() and process.poll() is None:  # it starts slowly on a busy machine
                    time.sleep(0.1)
                start = time.monotonic()
                count = max(4, int(seconds // 10) - 1)  # the last one before the line ends
                for _ in tracked(range(count), count, "samples"):
                    time.sleep((seconds - 10) / count)
                    if process.poll() is not None:
                        break
                    try:
                        sample = self._sample(process.pid, control)
                    except (OSError, ValueError):  # the line is ending
                        break
                    samples.append({"seconds": round(time.monotonic() - start), **sample})
                process.wait()
                content = json.loads(report.read_text())
        return {
            "cameras": cameras,
            "fps": self._fps,
            "last_to_first_quarter": last_to_first_quarter(samples, ("line_bytes", "server_bytes", "files")),
            "report": content,
            "samples": samples,
        }

    def _sample(self, line: int, control: Path) -> dict[str, float]:
        return {
            "line_bytes": resident_bytes(line),
            "server_bytes": resident_bytes(self._server.running.pid),
            "files": open_files(line),
            "account_missing": _missing(control),
        }

    def _spent(self, cameras: list[dict[str, Any]], memory: str, seconds: float) -> dict[str, float]:
        server = processor_seconds(self._server.running.pid)
        with self._line(cameras, memory, seconds) as (process, report):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            total = json.loads(report.read_text())["total"]
        return {
            "frames": total["answered"],
            "bytes": total["bytes_per_frame"],
            "line": usage.ru_utime + usage.ru_stime,
            "server": processor_seconds(self._server.running.pid) - server,
        }

    def _report(
        self, cameras: list[dict[str, Any]], memory: str, seconds: float, fps: float | None = None
    ) -> dict[str, Any]:
        with self._line(cameras, memory, seconds, fps) as (process, report):
            process.wait()
            content: dict[str, Any] = json.loads(report.read_text())
        return content

    @contextmanager
    def _line(
        self,
        cameras: list[dict[str, Any]],
        memory: str,
        seconds: float,
        fps: float | None = None,
        control: Path | None = None,
    ) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        """Run a line in a process; inside, it runs, and outside it has ended well."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            named = [{"name": f"c{n}", "fps": fps or self._fps, **one} for n, one in enumerate(cameras)]
            (folder / "line.yaml").write_text(
                yaml.safe_dump({"name": f"bench-{os.getpid()}", "url": self._url, "memory": memory, "cameras": named})
            )
            command = [sys.executable, "-m", "triton_yolo", "stream", str(folder / "line.yaml")]
            command += ["--seconds", str(seconds), "--report", str(folder / "report.json")]
            command += ["--control", str(control)] if control else []
            said = (folder / "said").open("wb")
            process = subprocess.Popen(command, stdout=said, stderr=said, cwd=ROOT)
            try:
                yield process, folder / "report.json"
                process.wait()
            finally:
                process.kill()
                said.close()
            if process.returncode:
                raise BenchError(f"the line ended with status {process.returncode}: {(folder / 'said').read_text()}")


def _missing(control: Path) -> int:
    """Return how many frames of all cameras are nowhere, as the line's own report has it."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(control))
        connection.sendall(b'{"report": true}\n')
        with connection.makefile() as answer:
            total: Mapping[str, Any] = json.loads(answer.readline())["total"]
    return int(total["captured"] - total["answered"] - sum(total["dropped"].values()) - total["in_flight"])


if __name__ == "__main__":
    typer.run(main)
