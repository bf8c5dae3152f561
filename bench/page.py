"""Command line: python -m bench.page, the line's page in real browsers."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from bench.errors import BenchError
from bench.memory import descendants, resident_bytes
from bench.origin import measured_on
from bench.page_feed import Feed, drawn_boards
from bench.processor_time import thread_seconds
from triton_yolo.cli.exits import leave
from triton_yolo.cli.progress import tracked
from triton_yolo.clients.stream.line import checked
from triton_yolo.clients.stream.sinks.page.sink import Page as PageSink
from triton_yolo.clients.stream.sinks.settings import PageSettings
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole
from triton_yolo.server.process import TritonServer, free_addresses

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("top", "bottom", "left", "right", "solder-1", "solder-2", "connector", "final")
WIDTH, HEIGHT = 1280, 800  # of the browser's window
COLORS = 256  # of pictures for the documentation
UNWATCHED_SECONDS = 20.0  # before the browsers open, at most
FAILURES_MB = 4.0  # soon full, so that what is measured is not the pictures that are kept
SHOT_SECONDS = 90.0  # of the line, until it has something to show
PATIENCE = 90.0


def main(
    what: Annotated[
        Literal["shot", "viewers"],
        typer.Argument(
            help="shot: the picture of the README, of a real line whose cameras die and freeze. viewers: memory and "
            "processor time of the page while browsers look at it."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder for the result; docs or bench/results if left out.")] = None,
    viewers: Annotated[int, typer.Option(min=1, help="Of viewers: browser tabs.")] = 8,
    cameras: Annotated[int, typer.Option(min=1, max=len(NAMES), help="Cameras of the line.")] = len(NAMES),
    fps: Annotated[float, typer.Option(min=0.1, help="Of viewers: frames a second of each camera.")] = 10.0,
    pictures: Annotated[float, typer.Option(min=0.1, help="Of viewers: pictures a second of each camera.")] = 2.0,
    seconds: Annotated[float, typer.Option(min=4, help="Of viewers: how long they look.")] = 600.0,
) -> None:
    """Look at the line's page with Chromium, which has to be installed.

    Leaves docs/page.png, or page-viewers.json.
    """
    try:
        if what == "shot":
            write_whole((out or ROOT / "docs") / "page.png", shot(list(NAMES[:cameras])))
            return
        result = looked_at(viewers, list(NAMES[:cameras]), fps, pictures, seconds)
    except TritonYoloError as error:
        leave("python -m bench.page", str(error))
    machine = measured_on()
    text = json.dumps({"measured_on": machine, **result}, indent=2)
    write_whole((out or ROOT / "bench" / "results") / "page-viewers.json", f"{text}\n".encode())
    typer.echo(text)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium.

    Raises:
        BenchError: it is not installed.
    """
    path = shutil.which("chromium")
    if path is None:
        raise BenchError("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, timeout=PATIENCE * 1e3)
        yield browser
        browser.close()


def shot(cameras: list[str]) -> bytes:
    """Return a PNG of a line against the real server, one of whose cameras is dead and one frozen."""
    with (
        TritonServer(ROOT / "model_repository", free_addresses(), lambda line: None) as server,
        tempfile.TemporaryDirectory() as folder,
        chromium() as browser,
    ):
        server.wait_until_ready()
        with _line(Path(folder), server, cameras) as (process, url):
            tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            tab.goto(url)
            tab.wait_for_timeout(SHOT_SECONDS * 1e3)
            dying, freezing = cameras[2 % len(cameras)], cameras[3 % len(cameras)]
            os.kill(_camera(process.pid, freezing), signal.SIGSTOP)
            for _ in range(3):  # the third time it is opened anew only after two seconds
                os.kill(_camera(process.pid, dying), signal.SIGKILL)
                _until(tab, dying, "dead")
            _until(tab, freezing, "frozen")
            _until(tab, dying, "dead")
            return compact(tab.screenshot())


def compact(png: bytes) -> bytes:
    """Return a PNG with fewer colours, of a third of the bytes."""
    small = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLORS, kmeans=2).save(small, "PNG", optimize=True)
    return small.getvalue()


def _until(tab: Page, camera: str, look: str) -> None:
    tab.locator(f'.tile[data-look="{look}"]').filter(has_text=camera).wait_for(timeout=PATIENCE * 1e3)


@contextmanager
def _line(folder: Path, server: TritonServer, cameras: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a line of drawn cameras; yields its process and the address of its page."""
    belt = {"size": "480x640", "boards": 5, "still": 6, "moving": 2, "frames": 40}
    defects = [[0, 2, 0, 0, 0], [0, 0, 0, 0, 1], [0] * 5, [0, 0, 1, 0, 0], [3, 0, 0, 0, 0], [0] * 5]
    line = {
        "name": "line-3",
        "url": f"{server.addresses.host}:{server.addresses.grpc}",
        "deadline_ms": 2000,
        "cameras": [
            {
                "name": name,
                "uri": "synthetic:photo",
                "fps": 1,
                "silent_after": 2 * PATIENCE,
                "options": {**belt, "seed": 40 + place, "defects": defects[place % len(defects)]},
            }
            for place, name in enumerate(cameras)
        ],
    }
    file = folder / "line-3.yaml"
    file.write_text(json.dumps({**line, "verdict": {"rules": [{"score": 0.4}]}}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (folder / "said").open("wb") as said:
        command = [sys.executable, "-m", "triton_yolo", "stream", str(file), "--page", address]
        process = subprocess.Popen(command, stdout=said, stderr=said, cwd=ROOT)
    try:
        end = time.monotonic() + PATIENCE
        while "the page is at" not in (folder / "said").read_text():
            if process.poll() is not None or time.monotonic() > end:
                raise BenchError(f"the line did not start: {(folder / 'said').read_text()}")
            time.sleep(0.1)
        yield process, f"http://{address}/"
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()


def _camera(pid: int, name: str) -> int:
    """Return the process of a camera, once it is there."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for child in descendants(pid):
            try:
                words = Path(f"/proc/{child}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            except OSError:
                continue
            if words[-1] == name.encode():
                return child
        time.sleep(0.1)
    raise BenchError(f"the camera {name} has no process")


def looked_at(viewers: int, cameras: list[str], fps: float, pictures: float, seconds: float) -> dict[str, Any]:
    """Return memory and processor time of a page while tabs of a browser look at it.

    Args:
        viewers: how many tabs.
        cameras: names of the line's cameras.
        fps: frames a second of each.
        pictures: pictures a second of each.
        seconds: how long.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, cameras, fps, pictures), daemon=True)
    process.start()
    try:
        if not here.poll(PATIENCE):
            raise BenchError("the page did not start")
        url = here.recv()
        assert process.pid
        alone = _cores(here, min(UNWATCHED_SECONDS, seconds))
        with chromium() as browser:
            tabs = [browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}) for _ in range(viewers)]
            sessions = [tab.context.new_cdp_session(tab) for tab in tabs]
            for session, tab in zip(sessions, tabs, strict=True):
                session.send("Performance.enable")
                tab.goto(url)
                tab.wait_for_function("() => document.querySelector('.tile[data-look=pass]') !== null")
            samples = []
            count = max(8, int(seconds // 10))
            start, spent = time.monotonic(), _spent(here)
            for number in tracked(range(count), count, "samples"):
                due = start + (number + 1) * seconds / count  # to look takes a while
                tabs[0].wait_for_timeout(max(0.0, 1e3 * (due - time.monotonic())))
                heaps = [_heap(session.send("Performance.getMetrics")) for session in sessions]
                samples.append(
                    {
                        "seconds": round(time.monotonic() - start),
                        "page_bytes": resident_bytes(process.pid),
                        "heap_bytes": round(statistics.median(heaps)),
                        "oldest_picture_s": max(_oldest(tab) for tab in tabs),
                        "stale_tabs": sum(tab.locator("#stale").is_visible() for tab in tabs),
                    }
                )
            watched = (_spent(here) - spent) / (time.monotonic() - start)
    finally:
        here.send("end")
        process.join(PATIENCE)
        process.kill()
    steady = samples[len(samples) // 6 :]  # without the start
    quarter = max(1, len(steady) // 4)
    ends = {
        key: statistics.median(s[key] for s in steady[-quarter:]) / statistics.median(s[key] for s in steady[:quarter])
        for key in ("page_bytes", "heap_bytes")
    }
    return {
        "viewers": viewers,
        "cameras": len(cameras),
        "fps": fps,
        "pictures_per_second": pictures,
        "failures_mb": FAILURES_MB,
        "seconds": seconds,
        "page_cores": {"nobody looks": round(alone, 4), "all look": round(watched, 4)},
        "last_to_first_quarter": {key: round(value, 4) for key, value in ends.items()},
        "oldest_picture_s": {
            "median": statistics.median(s["oldest_picture_s"] for s in steady),
            "most": max(s["oldest_picture_s"] for s in steady),
        },
        "stale_tabs": sum(s["stale_tabs"] for s in steady),
        "samples": samples,
    }


def _serve(pipe: Connection, cameras: list[str], fps: float, pictures: float) -> None:
    """Serve a page of drawn boards, in a process of its own; answers with the processor seconds of its threads."""
    line = checked(
        {"name": "line-3", "cameras": [{"name": n, "uri": "synthetic:photo", "fps": fps} for n in cameras]}, ""
    )
    page = PageSink.of(
        PageSettings(kind="page", listen="127.0.0.1:0", pictures_per_second=pictures, failures_mb=FAILURES_MB), line
    )
    feed = Feed(page, drawn_boards(10, 480, 640))
    feed.run(cameras, fps)
    pipe.send(page.url)
    threads = [thread.native_id for thread in threading.enumerate() if thread.name in ("page", "sink-page")]
    while pipe.recv() != "end":
        pipe.send(sum(thread_seconds(number) for number in threads if number))
    feed.stop()
    page.close()


def _spent(pipe: Connection) -> float:
    pipe.send("spent")
    seconds: float = pipe.recv()
    return seconds


def _cores(pipe: Connection, seconds: float) -> float:
    before = _spent(pipe)
    time.sleep(seconds)
    return (_spent(pipe) - before) / seconds


def _heap(metrics: dict[str, Any]) -> float:
    return next(float(one["value"]) for one in metrics["metrics"] if one["name"] == "JSHeapUsedSize")


def _oldest(tab: Page) -> float:
    """Return the age of the oldest picture that a tab shows, in seconds."""
    ages = [text.split()[0] for text in tab.locator(".tile .age").all_inner_texts()]
    return max((float(age) for age in ages if age.replace(".", "").isdigit()), default=float("inf"))


if __name__ == "__main__":
    typer.run(main)
