"""Command line: python -m bench.soak, a server under a mixed load for a long time."""

from __future__ import annotations

import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from bench.__main__ import HEIGHT, WIDTH, draw_images
from bench.errors import BenchError
from bench.held import held, last_to_first_quarter
from bench.origin import measured_on
from triton_yolo.boards import draw_board
from triton_yolo.cli.exits import leave
from triton_yolo.cli.progress import tracked
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.errors import DetectionError, ServerUnavailable
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole
from triton_yolo.server.process import TritonServer, free_addresses
from triton_yolo.server.runtimes.base import Device

ROOT = Path(__file__).resolve().parents[1]
READY = 300.0  # seconds
FLAT = 0.02  # of what is held: as much may come or go
WORDS = {
    "resident_bytes": "memory, MB",
    "open_files": "open files",
    "threads": "threads",
    "shared_memory_bytes": "shared memory between the server's processes, MB",
    "gpu_memory_bytes": "memory of the GPU, MB",
}


def main(
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = ROOT / "bench" / "results",
    device: Annotated[Device, typer.Option(help="Device of the server.")] = "cpu",
    backends: Annotated[Path | None, typer.Option(help="Folder with Triton's native DALI backend, to use it.")] = None,
    minutes: Annotated[float, typer.Option(min=1, help="Length of the load.")] = 60,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two samples.")] = 5,
    pause: Annotated[float, typer.Option(min=0, help="Of each client between two requests, in seconds.")] = 0.05,
) -> None:
    """Sample what a server holds under JPEGs, PNGs, frames in shared memory, Bayer, tiles and bad requests.

    One client for each kind of request. Flat is what the last quarter of the samples holds of the first, without the
    start, within 2 %. Leaves soak-DEVICE.json, and soak-DEVICE.png with all samples.
    """
    try:
        result = measure(device, backends, 60 * minutes, every, pause)
    except TritonYoloError as error:
        leave("python -m bench.soak", str(error))
    machine = measured_on(device)
    result = {"measured_on": machine, **result}
    write_whole(out / f"soak-{device}.json", f"{json.dumps(result, indent=1)}\n".encode())
    picture(result, out / f"soak-{device}.png")
    typer.echo(json.dumps({key: value for key, value in result.items() if key != "samples"}, indent=1))


def measure(device: Device, backends: Path | None, seconds: float, every: float, pause: float) -> dict[str, Any]:
    """Run the load, and return what came of it and all samples.

    Raises:
        BenchError: a request ended in another way than it must, or the server can answer no more.
    """
    samples: list[dict[str, int]] = []
    with ExitStack() as stack:
        server = TritonServer(ROOT / "model_repository", free_addresses(), lambda line: None, device, backends)
        stack.enter_context(server)
        server.wait_until_ready(READY)
        asked = requests(server, stack)
        load = stack.enter_context(Load(asked, pause))
        start, count = time.monotonic(), int(seconds / every)
        for number in tracked(range(1, count + 1), count, "samples"):
            time.sleep(max(0.0, start + number * every - time.monotonic()))
            load.check()
            if (why := server.broken()) is not None:
                raise BenchError(f"after {time.monotonic() - start:.0f} s: {why}")
            samples.append({"seconds": round(time.monotonic() - start), **held(server)})
        answered = dict(load.answered)
    kinds = [key for key in samples[0] if key != "seconds" and any(one[key] for one in samples)]
    ratios = last_to_first_quarter(samples, kinds)
    return {
        "minutes": seconds / 60,
        "pause_seconds": pause,
        "answered": answered,
        "last_to_first_quarter": ratios,
        "flat": {key: abs(ratio - 1) <= FLAT for key, ratio in ratios.items()},
        "samples": samples,
    }


def requests(server: TritonServer, stack: ExitStack) -> dict[str, Callable[[int], object]]:
    """Return a call for each kind of request, which takes the number of the request."""
    url, http = (f"{server.addresses.host}:{port}" for port in (server.addresses.grpc, server.addresses.http))
    grpc = stack.enter_context(Detector(url))
    over_http = stack.enter_context(Detector(f"http://{http}"))
    shared = stack.enter_context(Detector(url, memory="system"))
    boards = np.stack([draw_board(seed, WIDTH, HEIGHT, "photo").image for seed in range(4)])
    jpegs, pngs = draw_images(4), [_png(board[::2, ::2]) for board in boards]
    rgb = stack.enter_context(shared.frames(4, HEIGHT, WIDTH))
    rgb.fill(boards)
    bayer = stack.enter_context(shared.frames(4, HEIGHT, WIDTH, pixel_format="bayer_rggb"))
    bayer.fill(np.ascontiguousarray(boards[..., 1]))
    stream, bad = stack.enter_context(grpc.stream("soak")), _bad(jpegs[0], pngs[0])
    return {
        "JPEG": lambda number: grpc.detect(jpegs[number % 4]),
        "PNG over HTTP": lambda number: over_http.detect(pngs[number % 4]),
        "frames in shared memory": lambda number: shared.detect_frames(rgb, count=1 + number % 4),
        "Bayer": lambda number: shared.detect_frames(bayer, count=1 + number % 4, pixel_format="bayer_rggb"),
        "tiles": lambda number: stream.detect(boards[number // 8 % 4]),
        "bad requests": lambda number: _refused(grpc, bad[number % len(bad)]),
    }


def _png(board: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(board).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _bad(jpeg: bytes, png: bytes) -> list[bytes]:
    """Return images that must be refused: none, noise, cut, too large, with scans or chunks that are broken."""
    large = png[:16] + (60_000).to_bytes(4, "big") * 2 + png[24:]
    broken = png[: len(png) // 2] + b"\xff" + png[len(png) // 2 + 1 :]
    return [b"", bytes(range(256)), jpeg[: len(jpeg) // 2], jpeg[:100], png[: len(png) // 2], large, broken]


def _refused(detector: Detector, image: bytes) -> None:
    """Send an image that must be refused.

    Raises:
        BenchError: it is answered.
    """
    try:
        detector.detect(image)
    except ServerUnavailable:
        raise
    except DetectionError:
        return
    raise BenchError(f"an image was answered that must be refused: {image[:16].hex(' ')}")


class Load:
    """One thread for each kind of request; a context manager.

    Attributes:
        answered: requests that ended as they must, by kind.
    """

    def __init__(self, asked: Mapping[str, Callable[[int], object]], pause: float) -> None:
        """Prepare.

        Args:
            asked: by kind, what sends a request, and takes its number.
            pause: seconds between two.
        """
        self.answered: Counter[str] = Counter()
        self._end, self._pause, self._failure = threading.Event(), pause, ""
        self._threads = [threading.Thread(target=self._ask, args=one) for one in asked.items()]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def check(self) -> None:
        """Raise BenchError where a request ended in another way than it must."""
        if self._failure:
            raise BenchError(self._failure)

    def _ask(self, kind: str, ask: Callable[[int], object]) -> None:
        try:
            while not self._end.wait(self._pause):
                ask(self.answered[kind])
                self.answered[kind] += 1
        except TritonYoloError as error:  # of a thread: raised again in check
            self._failure = f"{kind}, after {self.answered[kind]} requests: {error}"


def picture(result: Mapping[str, Any], path: Path) -> None:
    """Draw all samples over time.

    Args:
        result: of ``measure``.
        path: of the PNG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    samples, ratios = result["samples"], result["last_to_first_quarter"]
    minutes = [one["seconds"] / 60 for one in samples]
    figure, axes = pyplot.subplots(len(ratios), 1, figsize=(12, 2.2 * len(ratios)), sharex=True, layout="constrained")
    for axis, (key, ratio) in zip(np.atleast_1d(axes), ratios.items(), strict=True):
        scale = 1e6 if key.endswith("_bytes") else 1
        axis.plot(minutes, [one[key] / scale for one in samples], color="#1f5fbf")
        axis.set_title(f"{WORDS[key]}: last quarter to first {ratio:.3f}", loc="left", fontsize=11)
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel("minutes")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


if __name__ == "__main__":
    typer.run(main)
