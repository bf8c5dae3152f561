"""Command line: python -m bench.overload, a server that is asked for three times what it holds."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.__main__ import draw_images
from bench.errors import BenchError
from bench.memory import resident_bytes
from bench.open_load import End, OpenLoad, milliseconds, requests, summary
from bench.origin import measured_on
from bench.slow_clients import SlowClients
from bench.steady import steady
from triton_yolo.cli.exits import leave
from triton_yolo.clients.detector import Detector
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole
from triton_yolo.server.process import TritonServer, free_addresses
from triton_yolo.server.runtimes.base import Device

ROOT = Path(__file__).resolve().parents[1]
IMAGES = 16
READY = 300.0  # seconds
IN_FLIGHT = {"cpu": 8, "gpu": 64}  # with which the server gives all that it holds
URGENT = 0.1  # of what is held: the requests of priority 1, which an inspection line would send
IN_A_ROW = 10  # answers within the p99 of before: normal again
PATIENCE = 60.0  # seconds for that
SLOW = 1000  # clients


def main(
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = ROOT / "bench" / "results",
    device: Annotated[Device, typer.Option(help="Device of the server.")] = "cpu",
    backends: Annotated[Path | None, typer.Option(help="Folder with Triton's native DALI backend, to use it.")] = None,
    seconds: Annotated[float, typer.Option(min=5, help="Length of the overload.")] = 600,
    times: Annotated[float, typer.Option(min=1, help="So many times what the server holds.")] = 3,
    queue_timeout: Annotated[float, typer.Option(min=0.01, help="Of the requests of priority 2, in seconds.")] = 0.5,
) -> None:
    """Measure a server under too many requests: JPEGs of 1280x960 at priority 2, beside a few at priority 1.

    First without the overload, for a tenth of its length (20 s at least): what is held, what priority 1 takes.
    Then how answered and refused requests end, whether priority 1 notices, and how soon one request at a time takes
    what it took before. Last, what 1,000 slow clients do to it. Leaves overload-DEVICE.json.
    """
    try:
        result = measure(device, backends, seconds, times, queue_timeout)
    except TritonYoloError as error:
        leave("python -m bench.overload", str(error))
    machine = measured_on(device)
    text = json.dumps({"measured_on": machine, **result}, indent=2)
    write_whole(out / f"overload-{device}.json", f"{text}\n".encode())
    typer.echo(text)


def measure(
    device: Device, backends: Path | None, seconds: float, times: float, queue_timeout: float
) -> dict[str, Any]:
    """Run everything; the result is what the file holds beside the machine."""
    images = draw_images(IMAGES)
    urgent, usual = requests(images, 1), requests(images, 2, queue_timeout)
    short = max(20.0, seconds / 10)
    with TritonServer(ROOT / "model_repository", free_addresses(), lambda line: None, device, backends) as server:
        server.wait_until_ready(READY)
        url = f"{server.addresses.host}:{server.addresses.grpc}"
        with Detector(url) as detector:
            load = steady(lambda number: len([detector.detect(images[number])]), IN_FLIGHT[device], short)
        held = load.items_per_second
        alone = _under(url, urgent, held * URGENT, short)
        memory = resident_bytes(server.running.pid)
        with OpenLoad(url, usual, times * held) as crowd:
            beside = _under(url, urgent, held * URGENT, seconds)
            crowd.stop()
            normal = _until_normal(url, images, milliseconds(alone)["p99_ms"] / 1e3)
        grown = resident_bytes(server.running.pid) - memory
        at = server.addresses
        with SlowClients(at.host, at.http, at.grpc, SLOW):
            slowed = _under(url, urgent, held * URGENT, short)
    return {
        "seconds": seconds,
        "held_per_second": round(held, 1),
        "sent_per_second": round(len(crowd.ends) / seconds, 1),
        "queue_timeout": queue_timeout,
        "priority_1_alone": summary(alone),
        "priority_1_in_overload": summary(beside),
        "priority_2_in_overload": summary(crowd.ends),
        "answered_per_second": round(sum(not end.refused for end in (*crowd.ends, *beside)) / seconds, 1),
        "seconds_until_normal": round(normal, 2),
        "resident_bytes_grown": grown,
        "priority_1_beside_slow_clients": {"slow_clients": SLOW, **summary(slowed)},
    }


def _under(url: str, messages: list[bytes], per_second: float, seconds: float) -> list[End]:
    with OpenLoad(url, messages, per_second) as load:
        time.sleep(seconds)
    return load.ends


def _until_normal(url: str, images: list[bytes], usual: float) -> float:
    """Return how many seconds from now on a request alone takes longer than it usually does at most."""
    begin = time.perf_counter()
    good_since, good = 0.0, 0
    with Detector(url) as detector:
        while good < IN_A_ROW:
            start = time.perf_counter()
            if start - begin > PATIENCE:
                raise BenchError(f"{PATIENCE:g} s after the overload, requests still take longer than {usual:g} s")
            detector.detect(images[0])
            if time.perf_counter() - start > usual:
                good = 0
            else:
                good_since = good_since if good else start - begin
                good += 1
    return good_since


if __name__ == "__main__":
    typer.run(main)
